"""Put pip into the environment that runs this: ensurepip first, then the versions that the arguments name.

Stands in for the bootstrap script of the same name that ansible-test would fetch.
"""

import subprocess
import sys

subprocess.run([sys.executable, "-m", "ensurepip"], check=True, stdout=subprocess.DEVNULL)
wanted = [argument for argument in sys.argv[1:] if "==" in argument]
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=True)
