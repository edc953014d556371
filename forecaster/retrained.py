"""What came of an unattended cycle, as an exit code, in words and as a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forecaster.errors import ForecasterError, PartialError, QualityGateError
from forecaster.runs import Run
from forecaster.words import by_reason, listed


@dataclass
class Retrained:
    """What came of a cycle.

    Attributes:
        name: The model.
        run: Its record: steps, champion, challenger, scores, exit code.
        output: The table that was written; None when the last one stays.
        rows: Of that table.
        notices: What the reader should know, a line each.
        failed: Series that failed or were skipped, and why.
        error: What ended it early, or kept the challenger out.
    """

    name: str
    run: Run
    output: Path | None = None
    rows: int = 0
    notices: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    error: ForecasterError | None = None

    @property
    def exit_code(self) -> int:
        """0; the error's code; 7 when series failed and nothing worse happened."""
        code = 0 if self.error is None else self.error.exit_code
        mild = code in (0, QualityGateError.exit_code)
        return PartialError.exit_code if self.failed and self.output and mild else code

    @property
    def message(self) -> str:
        """What ended it early, or the series that failed; empty when all is well."""
        if self.error is not None:
            return str(self.error)
        return " ".join(f"Failed: {line}" for line in self.failures)

    @property
    def failures(self) -> list[str]:
        """The series that failed, a line for each reason, which is left out where the error says it."""
        said = str(self.error or "")
        return [
            f"{listed(ids)}." if why in said else f"{listed(ids)}: {why}"
            for why, ids in by_reason(self.failed).items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        document: dict[str, Any] = {
            "name": self.name,
            "output": self.output,
            "rows": self.rows,
            "failed": self.failed,
            "notices": self.notices,
            "run": self.run.to_dict(),
        }
        if self.error is not None:
            said = {"message": self.error.message, "hint": self.error.hint}
            document["error"] = {"code": self.exit_code, **said}
        return document
