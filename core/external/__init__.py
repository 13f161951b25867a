"""Workers on other machines: they join an engine over a wire and are then workers like its own.

    line        records both ways between one worker and one engine, and the wires that carry them: nats, websocket
                (its client; the server's end is mcp_server/http/sockets)
    identity    who an engine is -> handshake: the four records with which a line begins -> membership: what is asked
                and answered in them
    enrolment   who may join: tokens, and the credentials that they are redeemed for; credential: on the worker's disk
    sealed      records that nobody else can read, forge, repeat or reorder -> tunnel: a byte stream over them
    gateway     the engine's side: meets, admits (license, group, protocol), serves; broker: its door over NATS
    callout     whom a NATS server lets in that was told of the engine (accounts), by what a worker says (assertion);
                parting: ends the connections of who was shut out
    host        the other machine's side, by one of the ways; watch and ends: what it sees of its worker process, and
                keeps of its end until an engine has been told
    shared_key  the way in with one key for all, which goes

The worker is the same process with the same channel to its engine as a local one; only what carries the channel
differs. Deliveries stay in the engine's store until they are settled, so wires carry and never keep: what is lost
with one goes out again as after the death of a local worker (docs/decisions/0021, 0035, 0037).
"""
