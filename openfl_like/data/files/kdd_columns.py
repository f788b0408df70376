"""What stands in the columns of KDD Cup 99, and how each becomes numbers."""

from collections.abc import Mapping, Sequence
from enum import Enum

import numpy as np

PROTOCOLS = ("icmp", "tcp", "udp")
FLAGS = ("OTH", "REJ", "RSTO", "RSTOS0", "RSTR", "S0", "S1", "S2", "S3", "SF", "SH")
# fmt: off
SERVICES = (
    "IRC", "X11", "Z39_50", "aol", "auth", "bgp", "courier", "csnet_ns", "ctf", "daytime", "discard", "domain",
    "domain_u", "echo", "eco_i", "ecr_i", "efs", "exec", "finger", "ftp", "ftp_data", "gopher", "harvest",
    "hostnames", "http", "http_2784", "http_443", "http_8001", "imap4", "iso_tsap", "klogin", "kshell", "ldap",
    "link", "login", "mtp", "name", "netbios_dgm", "netbios_ns", "netbios_ssn", "netstat", "nnsp", "nntp", "ntp_u",
    "other", "pm_dump", "pop_2", "pop_3", "printer", "private", "red_i", "remote_job", "rje", "shell", "smtp",
    "sql_net", "ssh", "sunrpc", "supdup", "systat", "telnet", "tftp_u", "tim_i", "time", "urh_i", "urp_i", "uucp",
    "uucp_path", "vmnet", "whois",
)
# fmt: on
CLASSES: Mapping[str, Sequence[str]] = {
    "normal": ("normal",),
    "probe": ("ipsweep", "mscan", "nmap", "portsweep", "saint", "satan"),
    "dos": ("apache2", "back", "land", "mailbomb", "neptune", "pod", "processtable", "smurf", "teardrop", "udpstorm"),
    "u2r": ("buffer_overflow", "httptunnel", "loadmodule", "perl", "ps", "rootkit", "sqlattack", "xterm"),
    "r2l": (
        *("ftp_write", "guess_passwd", "imap", "multihop", "named", "phf", "sendmail", "snmpgetattack", "snmpguess"),
        *("spy", "warezclient", "warezmaster", "worm", "xlock", "xsnoop"),
    ),
}
"""The five classes of the contest in the order of its numbers, with the labels of the files that each has."""


class Scale(Enum):
    """How a number is brought near to 1, by constants."""

    AS_IT_IS = "n, from 0 to 1"
    WINDOW = "n / 512"
    HOSTS = "n / 256"
    LOGARITHM = "ln(1 + n) / 10"

    def applied(self, values: np.ndarray) -> np.ndarray:
        """Return numbers scaled, float64; what cannot be (negative, not a number, above 1) is NaN."""
        if self is Scale.LOGARITHM:
            found = np.log1p(np.where(values >= 0, values, np.nan)) / 10
            return np.where(np.isfinite(found), found, np.nan)
        found = values / {Scale.AS_IT_IS: 1, Scale.WINDOW: 512, Scale.HOSTS: 256}[self]
        return np.where((found >= 0) & (found <= 1), found, np.nan)


_N, _W, _H, _L = Scale.AS_IT_IS, Scale.WINDOW, Scale.HOSTS, Scale.LOGARITHM
COLUMNS: Mapping[str, Scale | tuple[str, ...]] = {
    "duration": _L,
    "protocol_type": PROTOCOLS,
    "service": SERVICES,
    "flag": FLAGS,
    "src_bytes": _L,
    "dst_bytes": _L,
    "land": _N,
    "wrong_fragment": _L,
    "urgent": _L,
    "hot": _L,
    "num_failed_logins": _L,
    "logged_in": _N,
    "num_compromised": _L,
    "root_shell": _N,
    "su_attempted": _L,
    "num_root": _L,
    "num_file_creations": _L,
    "num_shells": _L,
    "num_access_files": _L,
    "num_outbound_cmds": _L,
    "is_host_login": _N,
    "is_guest_login": _N,
    "count": _W,
    "srv_count": _W,
    "serror_rate": _N,
    "srv_serror_rate": _N,
    "rerror_rate": _N,
    "srv_rerror_rate": _N,
    "same_srv_rate": _N,
    "diff_srv_rate": _N,
    "srv_diff_host_rate": _N,
    "dst_host_count": _H,
    "dst_host_srv_count": _H,
    "dst_host_same_srv_rate": _N,
    "dst_host_diff_srv_rate": _N,
    "dst_host_same_src_port_rate": _N,
    "dst_host_srv_diff_host_rate": _N,
    "dst_host_serror_rate": _N,
    "dst_host_srv_serror_rate": _N,
    "dst_host_rerror_rate": _N,
    "dst_host_srv_rerror_rate": _N,
}
"""The columns of the files in their order: how a number is scaled, or which words there may be."""
WIDTH = sum(1 if isinstance(how, Scale) else len(how) for how in COLUMNS.values())
"""How many numbers a connection is to the model."""
