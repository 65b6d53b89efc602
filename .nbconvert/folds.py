"""The folded solutions: from tests/solutions.py, run in their notebook, and written into it."""

import re

import nbformat
from execution import ROOT, needed

FILE = ROOT / "tests" / "solutions.py"
CHECK = re.compile(r'exercises\.check\("(.+?)"')
_FOLD = r"(<summary>Solution of {}</summary>\n\n)(.*)(\n```\n.*?</details>)"


def solutions():
    """By number, the code that takes a stub's place, and what is run after the check (or "")."""
    parts = re.split(r"^# %% (\S+)( result)?\n", FILE.read_text(encoding="utf-8"), flags=re.M)
    found = {}
    for number, result, code in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found.setdefault(number, ["", ""])[bool(result)] = code.strip()
    return found


def solved(notebook):
    """A notebook of what is needed to solve the exercises, with the solutions in it.

    A cell with the metadata ``result`` is a solution's result.
    """
    numbers = re.findall(r"<summary>Solution of (.+?)</summary>", _text(notebook))
    written, cells = solutions(), [cell for cell in notebook.cells if cell.cell_type == "code"]
    for place, cell in reversed(list(enumerate(cells))):
        if check := CHECK.search(cell.source):  # the stub stands right before it
            cells[place - 1] = nbformat.v4.new_code_cell(written[check[1]][0])
    for number in numbers:
        cells.append(nbformat.v4.new_code_cell(written[number][1], metadata={"result": number}))
    keep = needed(cells, lambda cell: "result" in cell.metadata or CHECK.search(cell.source))
    return nbformat.v4.new_notebook(
        cells=[cells[place] for place in sorted(keep)], metadata=notebook.metadata
    )


def fold(notebook, ran):
    """Write each solution and what it printed into its fold; ``ran`` is a run of :func:`solved`."""
    for cell in ran.cells:
        if number := cell.metadata.get("result"):
            solution, result = solutions()[number]
            block = "\n\n\n".join(code for code in (solution, result) if code)
            block = f"```python\n{block}\n```"
            if printed := printed_by(cell):
                block += f"\n\nIt prints\n\n```text\n{printed}"
            else:
                block = block.removesuffix("\n```")
            for markdown in notebook.cells:
                if markdown.cell_type == "markdown":
                    markdown.source = re.sub(
                        _FOLD.format(re.escape(number)),
                        lambda parts, block=block: parts[1] + block + parts[3],
                        markdown.source,
                        flags=re.DOTALL,
                    )


def printed_by(cell):
    """What a cell that ran has printed, without bars of progress."""
    text = "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return re.sub(r"^.*%\|.*\n", "", text, flags=re.MULTILINE).strip()


def _text(notebook):
    return "\n".join(cell.source for cell in notebook.cells)
