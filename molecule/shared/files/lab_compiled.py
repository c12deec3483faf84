"""In the lab's containers only: remembers what Python compiled of zipped sources.

Ansible sends a module, and all of Ansible that it imports, as sources in a zip, which Python compiles anew for each
task: a third of what a task takes on the host. What is compiled is kept by the digest of its source, so the same source
gives the same code, and any other is compiled as ever. lab_compiled.pth beside this file has each Python import it,
and leave no file on the host by that.
"""

import hashlib
import marshal
import os
import sys
import zipimport

FOLDER = "/var/cache/lab-compiled"
compile_source = zipimport._compile_source


def remembered(pathname, source):
    name = f"{FOLDER}/{hashlib.sha256(source).hexdigest()}.{sys.implementation.cache_tag}"
    try:
        with open(name, "rb") as file:
            return marshal.load(file)  # noqa: S302
    except (OSError, EOFError, ValueError, TypeError):
        code = compile_source(pathname, source)
    try:
        aside = f"{name}.{os.getpid()}"
        with open(aside, "wb") as file:
            marshal.dump(code, file)
        os.rename(aside, name)
    except OSError:  # not everybody may write there
        pass
    return code


zipimport._compile_source = remembered
