#!/usr/bin/env python3
"""A code search that is silent about nodes it cannot reach, for tests of the level 3 judge."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples"))
import level3


class Gappy(level3.Master):
    def gather(self, target):
        if not target.startswith("/?q="):
            # It says when it is up and has read its files as any other does.
            return super().gather(target)
        answers = []
        for node in level3.NODES:
            try:
                answers.append(self.ask(node, target))
            except (OSError, level3.http.client.HTTPException):
                pass
        return answers


level3.main(Gappy)
