# SPDX-License-Identifier: BSD-3-Clause
"""Every public header compiles alone, as C11 and C++17, with each compiler that is there."""
import shutil
import subprocess

from .tree import Skip

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
LANGUAGES = {"c11": ("c", ["gcc", "clang"]), "c++17": ("c++", ["g++", "clang++"])}


def compile_alone(tree, compiler, standard, language, header):
    """What the compiler says of the header, included twice in a file of its own; None when it is content."""
    command = [compiler, f"-std={standard}", *WARNINGS, "-x", language, "-fsyntax-only", "-I", tree.path("include"), "-"]
    source = f"#include <thinp/{header}>\n" * 2 + "extern int not_an_empty_file;\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip()


def check(tree):
    headers = [name[len("include/thinp/"):] for name in tree.files(r"^include/thinp/.*\.h$")]
    for standard, (language, compilers) in LANGUAGES.items():
        found = [compiler for compiler in compilers if shutil.which(compiler)]
        if not found:
            raise Skip(f"none of {', '.join(compilers)} is installed, so nothing was compiled as {standard}")
        for compiler in found:
            for header in headers:
                said = compile_alone(tree, compiler, standard, language, header)
                if said:
                    yield f"include/thinp/{header}: does not compile alone with {compiler} as {standard}:\n{said}"
