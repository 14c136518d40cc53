"""Results as JUnit XML, which CI systems show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from datastalker.errors import OutputError
from datastalker.text import printable
from datastalker.trial.run import Result


def write(path: str, results: Iterable[tuple[Result, str]]) -> None:
    """Write the results, each with what was said of its failure.

    Raises OutputError.
    """
    told = list(results)
    rows = [row for row, _ in told]
    suite = ElementTree.Element(
        "testsuite",
        name="stalk test",
        tests=str(len(rows)),
        failures=str(sum(row.failure is not None for row in rows)),
        errors="0",
        time=f"{sum(row.seconds for row in rows):.3f}",
    )
    for row, said in told:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            name=printable(row.case.name),
            classname=printable(Path(row.case.document.file).stem),
            file=printable(row.case.document.file),
            line=str(row.case.position[0]),
            time=f"{row.seconds:.3f}",
        )
        if row.failure is not None:
            message = printable(row.failure.title)
            ElementTree.SubElement(case, "failure", message=message).text = printable(said)
    try:
        ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise OutputError(f"--junit: {path} can't be written: {error.strerror}") from error
