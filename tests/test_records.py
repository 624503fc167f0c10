"""Records become JSON and come back equal."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from indoor.errors import IndoorError
from indoor.records import (
    Executed,
    Interval,
    Preprocessing,
    Ran,
    Rate,
    WeightSource,
    from_builtins,
    from_json,
    read_record,
    to_builtins,
    to_json,
    write_record,
)

RATE = Rate(num_hits=3, num_total=4, value=0.75, interval=Interval(low=0.3, high=0.95))


def test_round_trip_on_disk(tmp_path: Path) -> None:
    """A record that was written is read back equal, nested records included."""
    write_record(tmp_path / "rate.json", RATE)
    assert read_record(tmp_path / "rate.json", Rate) == RATE


def test_round_trip_through_builtins() -> None:
    """A record inside somebody else's JSON comes back equal."""
    assert from_builtins(to_builtins(RATE), Rate, "x") == RATE


def test_same_record_same_bytes() -> None:
    """JSON is deterministic, so that it can be hashed."""
    assert to_json(RATE) == to_json(from_json(to_json(RATE), Rate, "x"))
    assert to_json(RATE).startswith(b'{"num_hits":3,"num_total":4,"value":0.75,')


def test_a_wrong_value_is_one_line_that_names_the_field() -> None:
    """A value outside a closed set names file, record and field."""
    bad = b'{"resize":"squash","size":224,"mean":[0,0,0],"std":[1,1,1]}'
    with pytest.raises(IndoorError, match=r"x\.json holds no Preprocessing: .*squash.*resize"):
        from_json(bad, Preprocessing, "x.json")
    with pytest.raises(IndoorError, match="holds no Rate"):
        from_builtins({"num_hits": "three"}, Rate, "x")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_file_that_is_no_record(tmp_path: Path, content: bytes) -> None:
    """Empty, cut and foreign files are told apart from records."""
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(IndoorError, match=r"r\.json holds no Rate"):
        read_record(tmp_path / "r.json", Rate)


def test_a_missing_file(tmp_path: Path) -> None:
    """A missing file says which record was expected."""
    with pytest.raises(IndoorError, match=r"cannot read .*none\.json.*Rate as JSON"):
        read_record(tmp_path / "none.json", Rate)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("caf\udce9", r"caf\udce9"),
        ({"names": ["a", "\udcff"]}, {"names": ["a", r"\udcff"]}),
        ({"\udce9": 1}, {r"\udce9": 1}),
        (WeightSource(kind="none", name="\udce9.pt", sha256=None), None),
        (("Größe", "😀"), ["Größe", "😀"]),
    ],
    ids=["text", "list", "key", "record", "unicode-control"],
)
def test_a_name_that_is_no_utf8_is_written(value: object, written: object) -> None:
    """Bytes of a file's name that UTF-8 lacks are escaped, and JSON reads what was written."""
    read = json.loads(to_json(value))
    assert read == written or read["name"] == r"\udce9.pt"


def test_what_ran_is_summed_by_precision() -> None:
    """Multiply-adds are those of all operations, most first; what only moves data is none."""
    convolution = Executed(operator="conv", types="u8/s8/u8", shape="", precision="int8")
    ran = Ran(
        precision="int8",
        executed=(
            replace(convolution, precision="float32", multiply_adds=20),
            replace(convolution, multiply_adds=70),
            replace(convolution, multiply_adds=10),
            replace(convolution, operator="reorder", precision=None),
        ),
    )
    assert list(ran.multiply_adds.items()) == [("int8", 80), ("float32", 20)]
    assert ran.share == 0.8


def test_a_runtime_that_names_no_operation_tells_no_share() -> None:
    """Results of before have kernels alone, and of them no multiply-adds."""
    assert Ran(precision="int8", kernels={"brgconv": 53}).share is None
