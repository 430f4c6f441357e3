"""The accelerators: compiled when there is a compiler, left out with a warning when there is none."""

from pathlib import Path

from setuptools import Extension, setup

ROOMS = ("proto", "agent/sources/mysql", "agent/sources/postgresql", "replica")


def accelerators() -> list[Extension]:
    sources = sorted(path for room in ROOMS for path in Path(room).glob("*.pyx"))
    if not sources:
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    extensions = cythonize(
        [Extension(".".join(path.with_suffix("").parts), [str(path)]) for path in sources],
        language_level=3,
        quiet=True,
    )
    for extension in extensions:
        # Said afterwards, because cythonize does not carry it over.
        extension.optional = True
        extension.extra_compile_args = ["-O3"]
    return extensions


# The compiler runs once per core.
setup(ext_modules=accelerators(), options={"build_ext": {"parallel": True}})
