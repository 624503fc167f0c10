"""The house's walls: who may import whom."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WORKER = ROOT / "indoor" / "measure" / "worker"

BOTTOM = {"errors", "files", "hints", "locks", "progress", "download", "ranks"}
NUMBERS = {"measure", "runs", "report", "recommend", "gate", "history"}
NUMBERS_OF_EXPLAIN = ("observations", "terms", "decompose", "verdict", "render", "roofline", "plot")
"""Files of `indoor/explain/` that know no torch; the others there measure."""
NUMBERS_OF_DIAGNOSE = ("records", "causes", "render", "plot")
"""The same of `indoor/diagnose/`."""

ALLOWED = {
    "errors": set(),
    "progress": set(),
    "workers": set(),
    "ranks": {"errors"},
    "process_group": {"errors", "ranks"},
    "files": {"errors"},
    "locks": {"errors"},
    "download": {"errors", "files", "locks", "progress"},
    "records": {"errors", "files"},
    "places": {"errors"},
    "hints": {"places"},
    "machine": {"errors", "records", "ranks"},
    "measure": {"errors", "files", "records", "machine"},
    "runs": BOTTOM - {"download", "ranks"} | {"workers", "records", "machine", "measure"},
    "report": {"errors", "files", "hints", "records", "machine", "measure", "runs"},
    "recommend": {"errors", "hints", "records", "measure", "runs", "report"},
    "gate": {"errors", "files", "locks", "records", "machine", "measure", "runs", "report"},
    "history": {"errors", "files", "locks", "records", "machine", "measure", "report", "gate"},
    "devices": {"errors", "machine", "measure"},
    "vision": set(),
    "transforms": BOTTOM | {"records", "vision"},
    "dataset": BOTTOM | {"records", "transforms", "machine"},
    "demo": BOTTOM | {"dataset"},
    "model": BOTTOM | {"records", "vision", "transforms", "dataset", "machine"},
    "train": BOTTOM
    | {"records", "devices", "process_group", "dataset", "vision", "transforms", "model"}
    | {"machine", "measure"},
    "evaluate": BOTTOM | {"records", "measure"},
    "quantize": BOTTOM
    | {"records", "dataset", "transforms", "model", "train", "evaluate", "machine", "measure"},
    "diagnose": BOTTOM
    | {"records", "transforms", "dataset", "model", "quantize", "evaluate"}
    | {"machine", "measure", "report"},
    "runtimes": BOTTOM
    | {"records", "devices", "transforms", "dataset", "model", "quantize", "evaluate"}
    | {"machine", "measure"},
    "repair": BOTTOM
    | {"records", "transforms", "dataset", "model", "quantize", "evaluate", "diagnose"}
    | {"machine", "measure", "report"},
    "explain": BOTTOM
    | {"records", "devices", "transforms", "dataset", "model", "quantize", "evaluate"}
    | {"machine", "measure", "places", "runs", "report", "runtimes"},
}
"""Modules or folders of `indoor/`, and what each may import; `pipeline` and `cli` may do all."""

IN_GATE = {
    "wording": set(),
    "settings": {"wording"},
    "limits": {"wording", "settings"},
    "records": {"settings"},
    "worker": {"records", "settings"},
    "sides": {"settings", "worker"},
    "decide": {"wording", "limits", "records", "settings", "worker"},
    "facts": {"records", "decide", "sides", "worker"},
    "report": {"wording", "records", "decide"},
}
"""Files or folders of `indoor/gate/` that are a step, and what each may import of the others."""

BENCHMARKS_INSIDE = re.compile(
    r"\b(_raw|_raw_pedantic|_make_runner|_make_stats|_add_stats|_run_until_precise|"
    r"_calibrate_timer|_benchmarksession)\b|\._(timer|warner|cleanup_callbacks|min_rounds)\b"
)
"""Private names of pytest-benchmark's fixture and of where it keeps its session."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (module, whether at the module's top level) for each import of a source file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, id(node) in top
            if node.module == "indoor":
                for alias in node.names:
                    yield f"indoor.{alias.name}", id(node) in top


def sources(*folders: str) -> list[Path]:
    """Return the Python files below the folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def room(path: Path) -> str:
    """Return the module or folder of `indoor/` that a file belongs to."""
    return path.relative_to(ROOT / "indoor").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources("indoor"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_keep_their_direction(path: Path) -> None:
    """A module of indoor/ imports only the rooms below it."""
    here = room(path)
    if here in {"pipeline", "cli", "__init__", "__main__"}:
        return
    assert here in ALLOWED, f"{here}: say in ALLOWED what it may import"
    wanted = {name.split(".")[1] for name, _ in imports(path) if name.startswith("indoor.")}
    assert wanted - {here} <= ALLOWED[here]


@pytest.mark.parametrize(
    "path", sources("indoor/gate"), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_the_gates_steps_keep_their_direction(path: Path) -> None:
    """A step of the gate imports only the steps before it; what drives them may import all."""
    here = path.relative_to(ROOT / "indoor" / "gate").parts[0].removesuffix(".py")
    parts = [name.split(".") for name, _ in imports(path) if name.startswith("indoor.gate.")]
    wanted = {part[2] for part in parts} - {here}
    if here in IN_GATE:
        assert wanted <= IN_GATE[here]
    else:
        order = [
            "__init__",
            "trial_suite",
            "selftest",
            "tally",
            "naming",
            "fitting",
            "launches",
            "controller",
            "callables",
        ]
        above = wanted - IN_GATE.keys()
        assert all(order.index(name) < order.index(here) for name in above)


@pytest.mark.parametrize("path", sources("indoor"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_torchvision_is_imported_in_one_place(path: Path) -> None:
    """Whoever imports it elsewhere first loads torch's compiler with it."""
    if room(path) != "vision":
        assert not [name for name, _ in imports(path) if name.split(".")[0] == "torchvision"]


@pytest.mark.parametrize("path", sources("indoor"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_numbers_side_knows_no_torch(path: Path) -> None:
    """The numbers, the records and the bottom import no torch, not even inside."""
    if room(path) in NUMBERS | BOTTOM | {"records", "places"}:
        assert not [n for n, _ in imports(path) if n.split(".")[0] in {"torch", "torchvision"}]


@pytest.mark.parametrize(
    ("room_of", "name", "numbers"),
    [
        (room_of, name, numbers)
        for room_of, numbers in (
            ("explain", NUMBERS_OF_EXPLAIN),
            ("diagnose", NUMBERS_OF_DIAGNOSE),
        )
        for name in numbers
    ],
)
def test_what_was_observed_is_explained_without_torch(
    room_of: str, name: str, numbers: tuple[str, ...]
) -> None:
    """Records, causes and tables of `indoor explain` and `diagnose` know the numbers side alone."""
    names = {module for module, _ in imports(ROOT / "indoor" / room_of / f"{name}.py")}
    assert not {module.split(".")[0] for module in names} & {"torch", "torchvision"}
    rooms = {module.split(".")[1] for module in names if module.startswith("indoor.")}
    assert rooms <= NUMBERS | BOTTOM | {"records", "machine", room_of}
    inside = {m.split(".")[2] for m in names if m.startswith(f"indoor.{room_of}.")}
    assert inside <= {*numbers}


def test_machine_imports_torch_only_where_it_asks_it() -> None:
    """Reading the machine costs no torch import at module level."""
    files = [path for path in sources("indoor") if room(path) == "machine"]
    assert files
    assert not [n for p in files for n, top in imports(p) if top and n.startswith("torch")]


def test_tables_need_no_numbers_library() -> None:
    """Importing the room of tables, the gate's too, loads nothing that only some tables need."""
    code = (
        "import sys, indoor.report, indoor.runs.results, indoor.gate.report; "
        "heavy = {'torch', 'numpy', 'scipy', 'matplotlib', 'jsonschema', 'rich', 'psutil'}; "
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "path", sources("indoor", "bench"), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_torch_quantization_has_one_importer(path: Path) -> None:
    """Only indoor/quantize touches torch.ao.quantization, so its removal hurts one place."""
    if path.is_relative_to(ROOT / "indoor" / "quantize"):
        return
    assert "torch.ao.quantization" not in path.read_text(encoding="utf-8")  # torchao is another


@pytest.mark.parametrize(
    "path", sources("indoor", "bench"), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_pytest_benchmarks_inside_has_two_users(path: Path) -> None:
    """Only the worker's folder and the suite's adapter touch its private names."""
    if path.parent == WORKER or path == ROOT / "bench" / "adapter.py":
        return
    assert not BENCHMARKS_INSIDE.findall(path.read_text(encoding="utf-8"))


def test_the_workers_folder_needs_only_the_standard_library() -> None:
    """It is copied into strangers' suites, and a runtime's process loads no pytest with it."""
    files = sorted(WORKER.glob("*.py"))
    own = {file.stem for file in files}
    known = {*sys.stdlib_module_names, *own, "pytest", "pytest_benchmark"}
    assert {name.split(".")[0] for file in files for name, _ in imports(file)} <= known
    code = (
        "import sys; sys.path.append(sys.argv[1]); import worker; "
        "sys.exit(bool({'pytest', 'pluggy', 'pytest_benchmark', 'indoor'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(WORKER.parent)]
    assert subprocess.run(command, check=False).returncode == 0


@pytest.mark.parametrize("path", sources("indoor"), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_nothing_imports_bench(path: Path) -> None:
    """The package does not know the suite."""
    assert not [name for name, _ in imports(path) if name.split(".")[0] == "bench"]


def test_help_imports_no_torch() -> None:
    """`indoor --help` stays quick since it imports neither torch nor numpy."""
    code = (
        "import sys; from indoor.cli import main; main(['--help']); "
        "sys.exit(bool({'torch', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "example:" in done.stdout


ASKS_BY_NAME = {
    "indoor/runtimes/eager.py": "the runtime whose variants these are",
    "indoor/runtimes/gpu.py": "the runtime whose variants these are",
    "indoor/runtimes/openvino.py": "the runtime whose variants these are",
    "indoor/runtimes/compiling.py": "what the two runtimes share whose variants these are",
    "indoor/runtimes/onnxruntime_profile.py": "ONNX's names of types",
    "indoor/quantize": "makes int8 out of float32, whoever runs it",
    "indoor/report/caption.py": "the label of the line on how int8 was made",
    "indoor/report/headline.py": "the check of int8 counts for what is made from its checkpoint",
    "indoor/report/summary.py": "files of before do not list what was left out",
    "indoor/runs/select.py": "files of before tell nothing but the precision",
}
"""Who may compare a variant's name, precision or runtime with a text, and why."""


@pytest.mark.parametrize(
    "path", sources("indoor", "bench"), ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_variants_are_asked_and_not_compared_with_names(path: Path) -> None:
    """Limits, places, colours and roles are the variant's own, so that one more needs no edit."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith(("bench/studies/", *ASKS_BY_NAME)):
        return
    known = {"int8", "bfloat16", "eager"}
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        asked: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Dict):
            asked = [key for key in node.keys if key is not None]
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) != "Literal":
            asked = [node.slice]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        found += [
            f"line {node.lineno}: {leaf.value}"  # type: ignore[attr-defined]
            for one in asked
            for leaf in ast.walk(one)
            if isinstance(leaf, ast.Constant) and leaf.value in known
        ]
    assert not found
