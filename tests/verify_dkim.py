"""Verifies every mail of a folder with dkimpy, against the record in a zone file, and that no part of it may change.

usage: verify_dkim.py ZONE_FILE FOLDER...   Prints how many mails it verified; ends with 1 at the first that does not.
"""
import pathlib
import re
import sys

import dkim

# Verifying is slow, and what may not be added is the same for all.
EVERY = 20

zone = pathlib.Path(sys.argv[1]).read_text()
owner = zone.split()[0]
record = "".join(re.findall(r'"([^"]*)"', zone)).encode()


def txt(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return record if name == owner else None


def verifies(mail):
    return dkim.DKIM(mail).verify(dnsfunc=txt)


def expect(outcome, mail, path, what):
    try:
        found = verifies(mail)
    except dkim.DKIMException as problem:
        found = False
        what = f"{what} ({problem})"
    if found is not outcome:
        sys.exit(f"{path}: {what}: verifies is {found}, not {outcome}")


count = listed = 0
for folder in sys.argv[2:]:
    for path in sorted(pathlib.Path(folder).glob("*.eml")):
        mail = path.read_bytes()
        expect(True, mail, path, "as it was sent")
        if count % EVERY == 0:
            for name in (b"From", b"Subject", b"Reply-To", b"List-Unsubscribe"):
                expect(False, name + b": x@y.example\r\n" + mail, path, f"a second {name.decode()}")
            expect(False, mail + b"one more line\r\n", path, "a line behind the body")
        at = mail.find(b"\r\nList-Unsubscribe: <https://")
        if at >= 0:
            at += len(b"\r\nList-Unsubscribe: <https://n")
            changed = mail[:at] + bytes([mail[at] ^ 1]) + mail[at + 1 :]
            expect(False, changed, path, "one byte of List-Unsubscribe")
            if count % EVERY == 0:
                at = mail.index(b"One-Click")
                expect(False, mail[:at] + b"o" + mail[at + 1 :], path, "one byte of List-Unsubscribe-Post")
            listed += 1
        count += 1
print(count, listed)
