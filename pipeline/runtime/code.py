"""Which source files determine what a module computes, so that a rule can list them as inputs."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Writing, progress and scheduling cannot change a result, and settings reach a job through its parameters.
WITHOUT_INFLUENCE = ("pipeline.runtime", "pipeline.config")


def _path(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path: Path) -> frozenset[str]:
    """Names of the project's modules that ``path`` imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in found if name.split(".")[0] == "pipeline")


@cache
def module_files(module: str, *more: str) -> tuple[str, ...]:
    """Sorted paths, relative to the repository, of ``module`` and all it imports from this project.

    Variant kinds are found at run time and not by an import: name the one that a rule uses among ``more``.

    Raises:
        ValueError: there is no such module.
    """
    files: set[Path] = set()
    queue = [module, *more]
    for name in queue:
        if _path(name) is None:
            raise ValueError(f"no module {name} in this project")
    while queue:
        name = queue.pop()
        path = _path(name)
        if path is None or path in files or name.startswith(WITHOUT_INFLUENCE):
            continue
        files.add(path)
        queue.extend(_imports(path))
    return tuple(sorted(str(path.relative_to(ROOT)) for path in files))
