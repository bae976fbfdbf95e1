// Sends frames that make no sense to a p2pvoice node, each on a stream of its own, and prints what is answered.
//
//   node malformed.mjs MULTIADDR
//
// specs/exchange.md: each is answered by one `fail`, then the stream ends; the connection and other streams go on.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { byteStream } from '@libp2p/utils'
import { decode, encode } from '@msgpack/msgpack'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// js-libp2p 3.3 wants Node 22; with this, Node 20 does.
Promise.withResolvers ??= () => {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

const frame = (body, length = body.length) => {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32BE(length)
  return Buffer.concat([prefix, body])
}
const NONSENSE = {
  empty: frame(Buffer.alloc(0)),
  'one byte too long': frame(Buffer.alloc(0), 4097),
  'not MessagePack': frame(Buffer.from([0xc1])),
  'keys not sorted': frame(encode({ t: 'query', limit: 1 })),
  'wrong field': frame(encode({ limit: 'many', t: 'query' })),
  'unknown type': frame(encode({ t: 'sing' })),
  'an answer': frame(encode({ data: new Uint8Array(1), t: 'release' })),
  // The last one makes sense: after all of the above, the node still answers on the same connection.
  'a good request': frame(encode({ t: 'query' }))
}

const within = (seconds) => ({ signal: AbortSignal.timeout(seconds * 1000) })
const node = await createLibp2p({
  transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [yamux()], services: { identify: identify() }
})
try {
  const connection = await node.dial(multiaddr(process.argv[2]), within(10))
  for (const [what, sent] of Object.entries(NONSENSE)) {
    const stream = await connection.newStream('/p2pvoice/catalog/1.0.0', within(10))
    const bytes = byteStream(stream)
    await bytes.write(sent, within(15))
    const size = Buffer.from((await bytes.read({ bytes: 4, ...within(15) })).subarray()).readUInt32BE()
    const { t, code } = decode((await bytes.read({ bytes: size, ...within(15) })).subarray())
    // Whatever made sense leaves the stream open, so the asker ends it. A reset is an end, too.
    if (t !== 'fail') await stream.close()
    const rest = await bytes.read(within(15)).catch((error) => { if (error.name !== 'StreamResetError') throw error })
    console.log(JSON.stringify({ what, answer: t, code, ended: rest == null }))
  }
} finally {
  await node.stop()
}
