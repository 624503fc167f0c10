"""Runs to tables, sentences and pictures, from their records alone."""

from indoor.report.fleet import survey
from indoor.report.headline import speedup_sentence
from indoor.report.plots import plot_curves, plot_latency
from indoor.report.render import (
    ReportFormat,
    render,
    render_evaluation,
    render_fleet,
    render_machine,
    write_report_page,
)

__all__ = [
    "ReportFormat",
    "plot_curves",
    "plot_latency",
    "render",
    "render_evaluation",
    "render_fleet",
    "render_machine",
    "speedup_sentence",
    "survey",
    "write_report_page",
]
