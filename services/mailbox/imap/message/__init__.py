"""A reader of messages: headers, addresses, MIME parts, each where it stands.

Python's ``email`` package builds a tree of objects that own copies of all bodies, takes
milliseconds for a message, decodes and repairs while it reads, and does not say where a
part begins and ends.  IMAP wants the opposite: the very octets of any part, as a range
of the file, quickly, and without an opinion about what is wrong with them.
"""
