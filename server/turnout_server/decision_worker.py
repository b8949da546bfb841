"""A worker that serves the decision port; see worker.py."""

from __future__ import annotations

import sys

from turnout_server.worker import main

if __name__ == "__main__":
    from turnout_server.decision_serving import DecisionService

    sys.exit(main(DecisionService))
