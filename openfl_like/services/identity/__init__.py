"""Certificates while processes run: enrolment, renewal, revocation. Imported by the daemons, `doctor` and `cli`."""
