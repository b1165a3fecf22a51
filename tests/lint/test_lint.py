#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Each check finds what it is there for: small trees, one sound, the others with one violation planted."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True # the source tree stays as it is

from checks import headers, rooms, symbols, text
from checks.tree import Skip, Tree

LICENCE = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
VERSION_H = LICENCE + "".join(f"#define THINP_VERSION_{part} {n}\n" for n, part in enumerate(["MAJOR", "MINOR", "PATCH"]))
POOL_H = LICENCE + """#ifndef POOL_H
#define POOL_H
#include <assert.h>
#include <stddef.h>
#include <thinp/version.h>
#define THINP_API __attribute__((visibility("default")))
/* THINP_API int thinp_in_a_comment(void); */
struct thinp_opts {
	size_t size;
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_opts) == 8, "published layout, version 1");
#ifdef __cplusplus
extern "C" {
#endif
THINP_API int thinp_pool_open(const struct thinp_opts *opts,
			      int (*progress)(void *ctx));
THINP_API const char *thinp_pool_name(void);
#ifdef __cplusplus
}
#endif
#endif
"""
UTIL_H = """#define TP_PRIVATE_API __attribute__((visibility("default")))
TP_PRIVATE_API int tp_for_check(void);
int tp_for_nobody(void);
"""
POOL_C = LICENCE + """#include "base/util.h"
#include "pool.h"
#include <thinp/pool.h>

int thinp_pool_open(const struct thinp_opts *opts, int (*progress)(void *ctx))
{
	return opts && progress;
}

int tp_for_check(void)
{
	return 0;
}

const char *thinp_pool_name(void)
{
	return "pool";
}
"""
LIBTHINP_MAP = LICENCE + """LIBTHINP_0.1 {
global:
	thinp_pool_open;
	thinp_pool_name;
local:
	*;
};

LIBTHINP_PRIVATE_0.1.2 {
global:
	tp_for_check;
};
"""
SOUND = {
    "src/ROOMS": "# room : below : headers\nbase  :        : version.h\nthin  :        : pool.h\ncheck : thin   : dump.h\n",
    "include/thinp/version.h": VERSION_H,
    "include/thinp/pool.h": POOL_H,
    "include/thinp/dump.h": LICENCE + '#include <thinp/pool.h>\nTHINP_API int thinp_dump(void);\n',
    "src/base/util.h": LICENCE + UTIL_H,
    "src/thin/pool.h": LICENCE,
    "src/thin/pool.c": POOL_C,
    "src/check/dump.c": LICENCE + '#include "thin/pool.h"\n#include <thinp/dump.h>\nint thinp_dump(void)\n{\n\treturn 0;\n}\n',
    "src/tools/main.c": LICENCE + '#include "main.h"\n#include <thinp/dump.h>\n',
    "src/tools/main.h": LICENCE,
    "src/libthinp.map": LIBTHINP_MAP,
    "src/libthinp-check.map": LICENCE + "LIBTHINP_0.1 { global: thinp_dump; local: *; };\n",
    "docs/examples/make_pool.c":
        LICENCE + "void f(void)\n{\n\t/* README begin */\n\tif (1)\n\t\tg();\n\t/* README end */\n}\n",
    "docs/api.md": "thinp/version.h, thinp/pool.h, thinp/dump.h",
    "docs/choosing.md": "nothing can be chosen",
    "README.md": "See [the header](include/thinp/pool.h).\n\n```c\nif (1)\n        g();\n```\n",
    "run": "#!/bin/sh\n# SPDX-License-Identifier: BSD-3-Clause\n",
    ".clang-format": "BasedOnStyle: LLVM\nUseTab: Always\nIndentWidth: 8\nTabWidth: 8\nBreakBeforeBraces: Linux\n",
}


class Lint(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.root)

    def plant(self, changes=None):
        """The sound tree with some files replaced (or left out: None)."""
        for name, content in {**SOUND, **(changes or {})}.items():
            if content is not None:
                path = os.path.join(self.root, name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(content)
        return Tree(self.root)

    def assert_sound(self, check):
        try:
            self.assertEqual(list(check(self.plant())), [])
        except Skip as reason:
            self.skipTest(str(reason))

    def assert_finds(self, check, changes, *words):
        """One violation at least, and one that has all the words."""
        found = []
        try:
            for violation in check(self.plant(changes)):
                found.append(violation)
        except Skip as reason:
            if not found:
                self.skipTest(str(reason))
        self.assertTrue(any(all(word in violation for word in words) for violation in found), f"{words} not in {found}")


class Rooms(Lint):
    def test_a_sound_tree_holds(self):
        self.assert_sound(rooms.check)

    def test_including_a_room_above_is_found(self):
        self.assert_finds(rooms.check, {"src/thin/pool.c": LICENCE + '\n#include "check/x.h"\n'}, "pool.c:3", "check")

    def test_a_public_header_of_a_room_above_is_found(self):
        self.assert_finds(rooms.check, {"src/thin/pool.c": LICENCE + "#include <thinp/dump.h>\n"}, "pool.c:2", "dump.h")

    def test_a_path_that_climbs_is_found(self):
        self.assert_finds(rooms.check, {"src/base/util.h": LICENCE + '#include "../thin/pool.h"\n'}, "util.h:2", "climbs")

    def test_a_tool_that_looks_inside_is_found(self):
        self.assert_finds(rooms.check, {"src/tools/main.c": LICENCE + '#include "thin/pool.h"\n'}, "main.c:2", "public")

    def test_an_example_that_looks_inside_is_found(self):
        self.assert_finds(rooms.check, {"docs/examples/x.c": LICENCE + '#include "base/util.h"\n'}, "x.c:2", "public")

    def test_a_public_header_that_includes_a_private_one_is_found(self):
        self.assert_finds(rooms.check, {"include/thinp/pool.h": LICENCE + '#include "base/util.h"\n'}, "pool.h:2", "quoted")

    def test_a_public_header_of_no_room_is_found(self):
        self.assert_finds(rooms.check, {"include/thinp/new.h": LICENCE}, "new.h", "no room")

    def test_a_folder_of_no_room_is_found(self):
        self.assert_finds(rooms.check, {"src/attic/old.c": LICENCE}, "attic/old.c", "no room")

    def test_a_table_that_points_upwards_is_found(self):
        self.assert_finds(rooms.check, {"src/ROOMS": "base : thin : version.h\nthin : : pool.h\ncheck : thin : dump.h\n"},
                          "ROOMS", "base stands on thin")

    def test_a_header_that_is_missing_is_found(self):
        self.assert_finds(rooms.check, {"include/thinp/dump.h": None}, "dump.h does not exist")


class Symbols(Lint):
    def build(self, changes=None, flags=()):
        """The tree with its two libraries built."""
        tree = self.plant(changes)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if not compiler:
            self.skipTest("no compiler")
        tree.build = os.path.join(self.root, "build")
        os.makedirs(os.path.join(tree.build, "src"))
        for library, source in (("libthinp", "thin/pool.c"), ("libthinp-check", "check/dump.c")):
            base = os.path.join(tree.build, "src", library)
            common = [compiler, "-fPIC", *flags, "-I", tree.path("include"), "-I", tree.path("src")]
            subprocess.run([*common, "-c", tree.path(f"src/{source}"), "-o", base + ".o"], check=True)
            subprocess.run(["ar", "rcs", base + ".a", base + ".o"], check=True)
            script = tree.path(f"src/{library}.map")
            subprocess.run([compiler, "-shared", base + ".o", f"-Wl,--version-script={script}", "-o", base + ".so"], check=True)
        return tree

    def test_a_sound_tree_holds(self):
        self.assertEqual(list(symbols.check(self.build())), [])

    def test_a_function_missing_in_the_map_is_found(self):
        script = LIBTHINP_MAP.replace("\tthinp_pool_name;\n", "")
        self.assert_finds(symbols.check, {"src/libthinp.map": script}, "libthinp.map: lacks thinp_pool_name")

    def test_a_name_in_the_map_that_no_header_declares_is_found(self):
        script = LIBTHINP_MAP.replace("thinp_pool_name;", "thinp_pool_name; thinp_gone;")
        self.assert_finds(symbols.check, {"src/libthinp.map": script}, "libthinp.map: has thinp_gone")

    def test_a_function_in_the_wrong_library_is_found(self):
        script = "LIBTHINP_0.1 { global: thinp_dump; thinp_pool_name; local: *; };\n"
        self.assert_finds(symbols.check, {"src/libthinp-check.map": script}, "check.map: has thinp_pool_name")

    def test_a_node_that_is_not_of_this_version_is_found(self):
        self.assert_finds(symbols.check, {"include/thinp/version.h": VERSION_H.replace("MINOR 1", "MINOR 3")},
                          "libthinp.map", "LIBTHINP_0.3")

    def test_a_private_node_of_another_release_is_found(self):
        self.assert_finds(symbols.check, {"src/libthinp.map": LIBTHINP_MAP.replace("0.1.2", "0.1.1")},
                          "LIBTHINP_PRIVATE_0.1.2: lacks tp_for_check")

    def test_a_private_function_that_no_header_marks_is_found(self):
        script = LIBTHINP_MAP.replace("tp_for_check;", "tp_for_check; tp_for_nobody;")
        self.assert_finds(symbols.check, {"src/libthinp.map": script}, "has tp_for_nobody")

    def test_a_function_that_was_never_written_is_found(self):
        source = POOL_C[:POOL_C.index("const char")]
        found = list(symbols.check(self.build({"src/thin/pool.c": source})))
        self.assertIn("libthinp.so: lacks thinp_pool_name, which is in src/libthinp.map", found)

    def test_a_map_that_lets_everything_out_is_found(self):
        tree = self.build()
        shared = os.path.join(tree.build, "src", "libthinp")
        subprocess.run(["cc", "-shared", shared + ".o", "-Wl,--defsym=tp_secret=thinp_pool_name", "-o", shared + ".so"], check=True)
        self.assertIn("libthinp.so: has tp_secret, which is not in src/libthinp.map", list(symbols.check(tree)))

    def test_an_archive_that_shows_its_inside_is_found(self):
        found = list(symbols.check(self.build({"src/thin/pool.c": POOL_C + "int tp_inside(void)\n{\n\treturn 0;\n}\n"})))
        self.assertIn("libthinp.a: has tp_inside, which is not in src/libthinp.map", found)


class Headers(Lint):
    def test_a_sound_tree_holds(self):
        self.assert_sound(headers.check)

    def test_a_header_that_lacks_an_include_is_found(self):
        self.assert_finds(headers.check, {"include/thinp/dump.h": LICENCE + "int f(uint64_t);\n"}, "dump.h", "c11")

    def test_a_header_that_is_no_cxx_is_found(self):
        header = LICENCE + "#ifndef D\n#define D\nstruct s {\n\tint class;\n};\n#endif\n"
        self.assert_finds(headers.check, {"include/thinp/dump.h": header}, "dump.h", "c++17")

    def test_a_header_without_a_guard_is_found(self):
        self.assert_finds(headers.check, {"include/thinp/dump.h": LICENCE + "struct s {\n\tint i;\n};\n"}, "dump.h")


class Text(Lint):
    def test_a_sound_tree_holds(self):
        for check in (text.check_spdx, text.check_words, text.check_lengths, text.check_layouts, text.check_links,
                      text.check_api, text.check_options, text.check_readme):
            self.assert_sound(check)

    def test_a_source_without_licence_is_found(self):
        self.assert_finds(text.check_spdx, {"src/thin/pool.c": "int i;\n"}, "pool.c")

    def test_a_script_without_licence_is_found(self):
        self.assert_finds(text.check_spdx, {"run": "#!/bin/sh\n"}, "run")

    def test_words_that_do_not_belong_here_are_found(self):
        words = ["cd /%s/x" % "work", "(/%s/me)" % "home", "..%sshared" % "/", "https://deb.%s.org" % "debian", "TO" + "DO"]
        for word in words:
            with self.subTest(word):
                self.assert_finds(text.check_words, {"docs/a.md": f"one\n{word}\n"}, "docs/a.md:2")

    def test_ordinary_words_are_let_through(self):
        ordinary = "read/work/write, tests/work/x, shared/static, mktemp -d /tmp/x.XXXXXX\n"
        self.assertEqual(list(text.check_words(self.plant({"docs/a.md": ordinary}))), [])

    def test_a_function_that_is_too_long_is_found(self):
        for lines, wanted in ((58, 0), (59, 1)):
            with self.subTest(lines):
                source = LICENCE + "void f(void)\n{\n" + "\tg();\n" * lines + "}\n"
                found = list(text.check_lengths(self.plant({"src/thin/pool.c": source})))
                self.assertEqual(len(found), wanted, found)

    def test_a_file_that_is_too_long_is_found(self):
        self.assert_finds(text.check_lengths, {"src/thin/pool.c": "int i;\n" * 601}, "pool.c", "601")

    def test_a_struct_without_its_size_is_found(self):
        header = POOL_H.replace("static_assert(sizeof(void *) != 8 || sizeof(struct thinp_opts) == 8", "static_assert(1")
        self.assert_finds(text.check_layouts, {"include/thinp/pool.h": header}, "pool.h", "thinp_opts")

    def test_a_size_in_a_comment_does_not_count(self):
        header = POOL_H.replace("static_assert", "/* static_assert").replace("version 1\");", "version 1\"); */")
        self.assert_finds(text.check_layouts, {"include/thinp/pool.h": header}, "pool.h", "thinp_opts")

    def test_code_that_is_not_formatted_is_found(self):
        self.assert_finds(text.check_format, {"src/thin/pool.c": LICENCE + "int  f( void ){return 0;}\n"}, "pool.c")

    def test_a_dead_link_is_found(self):
        self.assert_finds(text.check_links, {"docs/a.md": "[x](nowhere.md#part)\n"}, "docs/a.md", "nowhere.md")

    def test_a_header_that_the_reference_does_not_name_is_found(self):
        self.assert_finds(text.check_api, {"docs/api.md": "thinp/version.h, thinp/pool.h"}, "thinp/dump.h")

    def test_an_option_that_is_not_described_is_found(self):
        header = (LICENCE + "#define THINP_IO_FAST 1u /**< flag: at once */\n\nstruct thinp_io_opts {\n\tsize_t size; /**< its size; */\n"
                  "\tuint64_t\n\t\tnr_blocks; /**< how many */\n\tint (*before)(void *ctx);\n\tvoid *before_ctx;\n};\n")
        described = {"docs/choosing.md": "`THINP_IO_FAST`, `thinp_io_opts::nr_blocks`, `before`", "include/thinp/io.h": header}
        self.assertEqual(list(text.check_options(self.plant(described))), [])
        for name in ("THINP_IO_FAST", "nr_blocks", "before"):
            lacking = {**described, "docs/choosing.md": described["docs/choosing.md"].replace(name, "")}
            self.assert_finds(text.check_options, lacking, "docs/choosing.md", name)

    def test_a_readme_that_differs_from_the_example_is_found(self):
        self.assert_finds(text.check_readme, {"README.md": "```c\nif (2)\n        g();\n```\n"}, "differs")

    def test_a_readme_without_code_is_found(self):
        self.assert_finds(text.check_readme, {"README.md": "nothing\n"}, "no C block")


if __name__ == "__main__":
    unittest.main()
