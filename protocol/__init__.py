"""The rules of p2pvoice as pure functions: no network, no disk, no clock.

Bytes come in, frozen values or one of our errors come out. To begin somewhere:

- What is a voice on the wire?  ``manifest`` (and its ``entries``), signed in an ``envelope``, the latest one
  named by a ``head``.
- How are things named?  ``ids``. How is anything hashed or signed spelled?  ``canonical``.
- How do files travel?  ``chunks`` plans them, ``codec`` encodes them, ``tensors`` reads their headers.
- What do peers say?  ``messages``, in ``framing``; of operations in a ``conversation``, where ``reconcile``
  finds what differs.
- What do people do to a voice?  ``acts``, signed as ``operations``, each signer's in a ``chain``, added up by
  ``replay``.
- What does a person say?  ``tags``, over a ``vocabulary``; ``consent``, and signed, a ``consent_statement``,
  which ``consent_state`` finds good or expired.
- What does a sound say of itself?  ``label``, in ``wav`` and ``flac``.
- What can go wrong?  ``errors``.

The same on paper, with test vectors: specs/README.md. This package imports nothing of the others.
"""
