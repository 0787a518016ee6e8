"""Records: what passes between the parts; protocol, job, result, run and entry; no torch."""
