"""Attacks of other libraries, run on a victim unchanged: what do they find that `standard` did not?"""
