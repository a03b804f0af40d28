"""What flufl.bounce answers to its own test messages: writes answers.json beside them.

usage: flufl_answers.py FOLDER    (with flufl.bounce in the path)
"""

import email
import json
import pathlib
import sys

from flufl.bounce import all_failures

folder = pathlib.Path(sys.argv[1])
answers = {}
for path in sorted(folder.glob("*.txt")):
    with path.open("rb") as message:
        temporary, permanent = all_failures(email.message_from_binary_file(message))
    answers[path.name] = {
        "temporary": sorted(address.decode("ascii") for address in temporary),
        "permanent": sorted(address.decode("ascii") for address in permanent),
    }
(folder / "answers.json").write_text(json.dumps(answers, indent=1))
