#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plants one defect in the metadata of a healthy pool, makes the checksum right again, and looks at what is said of it.

    check_defects.py THINP FIXTURES RULES HEADER [NAME...]

`thinp check` must name the rule and the severity, and nothing that does not follow from it; its exit status must follow. The
older checkers are asked as well, those that can be found: thin_check 0.9 in the PATH, thin_check 1.1 by THINP_THIN_CHECK_1.
What each of them says of a defect is written down in defects.py: they overlook some ("ok"), and that is why the columns
differ. What one of them finds, thinp has to find.

RULES is docs/format.md. For each rule there, and each severity that it can have, there has to be a defect; what it says of
older checkers has to be what the defects say; and the rules of HEADER, thinp/check.h, have to be the same ones.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True # the source tree stays as it is

from damage import Image
from defects import BAD, DEFECTS, ELSEWHERE, TOLD_AS

HERE = os.path.dirname(os.path.abspath(__file__))


def run(command, path):
    done = subprocess.run(command + [path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def witnesses():
    """(name, column, command) of the older checkers that are here."""
    found = []
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for column, name in ((5, shutil.which("thin_check", path=path)), (6, os.environ.get("THINP_THIN_CHECK_1"))):
        if name:
            said = subprocess.run([name, "--version"], check=False, capture_output=True, text=True).stdout
            if said.startswith("0.9") == (column == 5):
                found.append((f"{name} {said.split()[-1]}", column, [name, "-q"]))
    return found


def complaints(defect, path, thinp, others):
    """What is not as the table says."""
    name, _, _, broken, along, *_ = defect
    status, out, err = run([thinp, "check", "--json"], path)
    if status not in (0, 1) or err:
        yield f"status {status}, {err!r}"
        return
    result = json.loads(out)
    told = [(finding["rule"], finding["severity"]) for finding in result["findings"]]
    if set(told) != {*broken, *along}:
        yield f"{sorted({*broken, *along})} should be told, and {sorted(set(told))} is"
    is_damaged = any(severity in ("fatal", "leak", "meta") for _, severity in told)
    if status != is_damaged:
        yield f"status {status}, found {sorted(set(told))}"
    if bool(result["nr_fatal"]) != any(severity == "fatal" for _, severity in told):
        yield f"{result['nr_fatal']} are fatal, found {sorted(set(told))}"
    if name in TOLD_AS["H6"] and told.count(broken[0]) != 1:
        yield f"told {told.count(broken[0])} times"
    for witness, column, command in others:
        is_bad = run(command, path)[0] != 0
        if is_bad != (defect[column] == BAD):
            yield f"{witness} does not say {defect[column]}"
        if is_bad and status == 0:
            yield f"{witness} finds what thinp overlooks"


# --- the list of rules ---------------------------------------------------------------------------------------------------


def rules_of(path):
    """Rule to (severities, what 0.9 and 1.1 say), from the tables of section 14 that have these columns."""
    with open(path, encoding="utf-8") as file:
        section = file.read().split("\n## 14.")[1].split("\n## ")[0]
    rules = {}
    for line in section.splitlines():
        columns = [column.strip() for column in line.strip("|").split("|")]
        if re.fullmatch(r"(SB|BL|N|SM|D|H)\d+", columns[0]):
            severities = set(re.findall(r"\b(fatal|leak|meta|warning|state)\b", columns[2]))
            rules[columns[0]] = (severities, *columns[-2:])
    return rules


def rules_of_header(path):
    with open(path, encoding="utf-8") as file:
        return set(re.findall(r"THINP_CHECK_((?:SB|BL|N|SM|D|H)\d+) = ", file.read()))


def verdict(defects, column):
    said = {defect[column] for defect in defects}
    return "–" if not said else "partly" if len(said) == 2 else "yes" if said == {BAD} else "no"


def defects_of(rule):
    if rule in TOLD_AS:
        return [defect for defect in DEFECTS if defect[0] in TOLD_AS[rule]]
    return [defect for defect in DEFECTS if any(name == rule for name, _ in defect[3])]


def compare_lists(rules, header):
    """What the list of rules and the defects disagree on."""
    if rules.keys() - TOLD_AS.keys() != header:
        yield f"rules that are in one list only: {sorted((rules.keys() - TOLD_AS.keys()) ^ header)}"
    for rule, (severities, *older) in rules.items():
        defects = defects_of(rule)
        if rule in ELSEWHERE:
            with open(os.path.join(HERE, ELSEWHERE[rule]), encoding="utf-8") as file:
                if f"{rule}_" not in file.read():
                    yield f"{ELSEWHERE[rule]} has no test of {rule}"
            continue
        tested = {severity for defect in defects for name, severity in defect[3] if name == rule or rule in TOLD_AS}
        if tested != severities:
            yield f"{rule}: {sorted(severities)} in the list, {sorted(tested)} is tested"
        for name, column, said in zip(("0.9", "1.1"), (5, 6), older):
            if said != verdict(defects, column):
                yield f"{rule}: {name} finds it: {said} in the list, {verdict(defects, column)} by the defects"
    names = {defect[0] for defect in DEFECTS}
    for rule, those in TOLD_AS.items():
        if set(those) - names or rule not in rules:
            yield f"{rule}: {sorted(set(those) - names)} are no defects"


def main():
    thinp, fixtures, rules, header, names = *sys.argv[1:5], sys.argv[5:]
    others = witnesses()
    print("older checkers:", ", ".join(name for name, *_ in others) or "none")
    said = list(compare_lists(rules_of(rules), rules_of_header(header)))
    for complaint in said:
        print(complaint)
    failures, nr = len(said), 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image")
        for defect in DEFECTS:
            name, fixture, damage, *_ = defect
            if names and name not in names:
                continue
            with open(os.path.join(fixtures, f"kernel-{fixture}.meta"), "rb") as file:
                image = Image(file.read())
            damage(image)
            with open(path, "wb") as file:
                file.write(image.data)
            nr += 1
            for complaint in complaints(defect, path, thinp, others):
                failures += 1
                print(f"{name}: {complaint}")
    print(f"{nr} defects, {failures} complaints")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
