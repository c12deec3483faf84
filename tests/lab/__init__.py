"""What the scenarios' tests share: molecule/conftest.py makes it known to pytest."""
