// js-libp2p at a relay: as its client, and as the relay itself. Runs until its input ends.
//
//   node relay.mjs client MULTIADDR    takes a place at that relay, opens its voucher, prints where it is called
//   node relay.mjs server              is a relay, and prints where
//
// specs/reach.md, "Relay".

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { RecordEnvelope } from '@libp2p/peer-record'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { byteStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

// js-libp2p 3.3 wants Node 22; with this, Node 20 does.
Promise.withResolvers ??= () => {
  const parts = {}
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }))
  return parts
}

const HOP = '/libp2p/circuit/relay/0.2.0/hop'
const within = (seconds) => ({ signal: AbortSignal.timeout(seconds * 1000) })
const say = (line) => console.log(JSON.stringify(line))

// The fields of a protobuf message: a number, or the bytes of the last one of that number.
const fields = (bytes) => {
  const found = {}
  let at = 0
  const number = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      value |= BigInt(bytes[at] & 127) << shift
      if (bytes[at++] < 128) return Number(value)
    }
  }
  while (at < bytes.length) {
    const key = number()
    const value = number()
    if ((key & 7) === 2) found[key >> 3] = bytes.subarray(at, at += value)
    else found[key >> 3] = value
  }
  return found
}

const [role, address] = process.argv.slice(2)
const server = role === 'server'
const node = await createLibp2p({
  addresses: { listen: [server ? '/ip4/127.0.0.1/tcp/0' : `${address}/p2p-circuit`] },
  transports: server ? [tcp()] : [tcp(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), ...(server && { relay: circuitRelayServer() }) }
})
try {
  if (!server) {
    const connection = await node.dial(multiaddr(address), within(10))
    const bytes = byteStream(await connection.newStream(HOP, within(10)))
    await bytes.write(Uint8Array.of(2, 8, 0), within(10))
    const head = [...(await bytes.read({ bytes: 2, ...within(10) })).subarray()]
    const size = (head[0] & 127) | (head[1] << 7)
    const { 3: reservation } = fields((await bytes.read({ bytes: size, ...within(10) })).subarray())
    const { 1: until, 3: voucher } = fields(reservation)
    const envelope = await RecordEnvelope.openAndCertify(voucher, 'libp2p-relay-rsvp', within(10))
    const { 2: peer, 3: expiration } = fields(envelope.payload)
    say({
      voucher: envelope.publicKey.toString(),
      type: Buffer.from(envelope.payloadType).toString('hex'),
      ours: Buffer.from(peer).equals(Buffer.from(node.peerId.toMultihash().bytes)),
      same: until === expiration
    })
    while (!node.getMultiaddrs().some((one) => `${one}`.includes('/p2p-circuit'))) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  say({ peer: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) })
  process.stdin.resume()
  await new Promise((resolve) => process.stdin.once('end', resolve))
} finally {
  await node.stop()
}
