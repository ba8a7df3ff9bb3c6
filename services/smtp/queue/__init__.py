"""The durable queue: a log of messages and of what became of them.

The log is all there is on disk: a message's octets stand in it once, are read from
there when it is sent, and move on only when little else in their segment is of use.
"""
