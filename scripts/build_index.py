#!/usr/bin/env python3
"""Build the index of a folder of documents: python scripts/build_index.py DOCUMENTS [--out FOLDER]

--list, --verify and --rollback look after the builds that there are; --help tells.
"""

import os

from zantara_stream.errors import ConfigError
from zantara_stream.retrieval.builder import main
from zantara_stream.supervisor import take_credentials

if __name__ == "__main__":
    try:
        take_credentials(os.environ)
    except ConfigError as error:
        raise SystemExit(f"build_index.py: {error}") from error
    raise SystemExit(main())
