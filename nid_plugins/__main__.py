"""``python -m nid_plugins``: the command line, for when the script ``nid`` is not on the path."""

from __future__ import annotations

from nid_plugins.cli import main

if __name__ == "__main__":
    main()
