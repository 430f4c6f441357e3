"""The accelerators: compiled when there is a compiler, left out without a word of complaint when there is none."""

from pathlib import Path

from setuptools import Extension, setup

ROOMS = ("proto", "agent/sources")


def accelerators() -> list[Extension]:
    sources = sorted(path for room in ROOMS for path in Path(room).glob("*.pyx"))
    if not sources:
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    extensions = [
        Extension(
            ".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=["-O3"], optional=True
        )
        for path in sources
    ]
    return cythonize(extensions, language_level=3)


setup(ext_modules=accelerators())
