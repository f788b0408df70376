"""What must not leave a person's machine by accident: secrets, shard descriptors and tables of data."""

import re
from fnmatch import fnmatchcase

_SECRET_NAMES = (
    *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx"),
    *("*.token", "token", "token.txt", "*.ppk", "env", "*.env", ".env*", ".netrc", "_netrc", ".pgpass", ".pypirc"),
    *(".npmrc", "htpasswd", ".htpasswd", "credentials", "credentials.json", "secrets.*", "secret.*"),
)
_ACCESS = "an access token"
_SECRET_TEXTS = (
    (re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"), "a private key"),
    (re.compile(rb"PuTTY-User-Key-File-\d"), "a private key"),
    (re.compile(rb"\bfx1/[^/\s]{1,63}/[a-z]{1,20}/[^/\s]{1,63}/[^/\s]{1,260}/[A-Za-z0-9_-]{20}"), "an enrolment token"),
    (re.compile(rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an access key"),
    (re.compile(rb"(?i:aws_secret_access_key)[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}\b"), "an access key"),
    (re.compile(rb"\b(?:gh[oprsu]|github_pat)_[A-Za-z0-9_]{30}"), _ACCESS),
    (re.compile(rb"\b(?:hf_[A-Za-z0-9]{30}|npm_[A-Za-z0-9]{36}|AIza[A-Za-z0-9_-]{35})"), _ACCESS),
    (re.compile(rb"\b(?:glpat-[A-Za-z0-9_-]{20}|pypi-AgE[A-Za-z0-9_-]{20}|xox[abeoprs]-[A-Za-z0-9-]{20})"), _ACCESS),
    (re.compile(rb"\bsk-(?:[A-Za-z0-9]{32}|(?:proj|ant|svcacct)-[A-Za-z0-9_-]{20})"), _ACCESS),
)
_SHARD_NAMES = ("shard.y*ml", "shard[-_.]*.y*ml", "shards*/*", "*/shards/*.y*ml")
_TABLE_ENDINGS = (
    *(".csv", ".tsv", ".parquet", ".feather", ".arrow", ".xls", ".xlsx", ".ods", ".npy", ".npz", ".h5", ".hdf5"),
    *(".sav", ".dta", ".sas7bdat", ".rds", ".rdata", ".mat", ".db", ".pkl", ".pickle"),
    *(".jsonl", ".ndjson", ".dcm", ".nii", ".edf", ".tfrecord", ".lmdb", ".csv.gz", ".tsv.gz", ".nii.gz"),
)


def is_secret_name(path: str) -> bool:
    """Whether a file is called as files with keys and passwords are."""
    name = path.rpartition("/")[2].lower()
    return any(fnmatchcase(name, pattern) for pattern in _SECRET_NAMES) and not name.endswith((".py", ".pub"))


def is_shard(path: str) -> bool:
    """Whether a file is called as a site's own description of its data is."""
    return any(fnmatchcase(path.lower(), pattern) for pattern in _SHARD_NAMES)


def is_table(path: str) -> bool:
    """Whether a file is called as tables and arrays of data are."""
    return path.lower().endswith(_TABLE_ENDINGS) or fnmatchcase(path.lower(), "*.sqlite*")


def secret_in(data: bytes) -> str:
    """Say what secret the bytes of a file hold; empty if none is seen."""
    return next((what for pattern, what in _SECRET_TEXTS if pattern.search(data)), "")
