#!/usr/bin/env python3
"""A code search that lies from its fifth query on, for tests of the level 3 judge. SEARCH_LIES is
`twice` (a line is listed again), `wrong` (a line is lost), `partial` (an answer that is whole is said not
to be) or `hang` (no answer)."""

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples"))
import level3


class Liar(level3.Master):
    queries = 0

    def answer(self, path, parameters):
        status, body = super().answer(path, parameters)
        results = body.get("results")
        if path != "/":
            return status, body
        self.queries += 1
        if self.queries >= 5 and results:
            lie = os.environ["SEARCH_LIES"]
            print("lying about", parameters["q"], flush=True)
            if lie == "twice":
                results.append(results[0])
            elif lie == "wrong":
                results.pop()
            elif lie == "partial":
                body["partial"] = True
            else:
                threading.Event().wait()
        return status, body


level3.main(Liar)
