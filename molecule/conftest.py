"""What the scenarios' tests share is in tests/lab/."""

pytest_plugins = ["lab.hosts", "lab.inventory", "lab.mail", "lab.signatures", "lab.modules"]
