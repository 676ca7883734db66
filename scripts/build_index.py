#!/usr/bin/env python3
"""Build the index of a folder of documents: python scripts/build_index.py DOCUMENTS [--out FOLDER]

--list, --verify and --rollback look after the builds that there are; --help tells.
"""

from zantara_stream.retrieval.builder import main

if __name__ == "__main__":
    raise SystemExit(main())
