// Finds a voice at a p2pvoice node, and fetches and verifies a manifest and a file of it; written from specs/ alone.
//
//   node fetch.mjs MULTIADDR TAG [flip-manifest | flip-chunk]
//
// MULTIADDR ends in /p2p/PEER-ID; TAG is canonical, like language/yue. Each step prints one line of JSON; a check that
// fails is a line with the step "refused", and exit code 1. The third word changes one bit of what came, to show that it
// is refused. The script takes no notice of heads, revocations and deltas, and serves nothing.

import { createHash, createPublicKey, verify } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { ping } from '@libp2p/ping'
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

const [address, tag, flip = ''] = process.argv.slice(2)
const say = (step, facts) => console.log(JSON.stringify({ step, ...facts }))
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()
const within = (seconds) => ({ signal: AbortSignal.timeout(seconds * 1000) })
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const need = (holds, why) => { if (!holds) throw new Error(why) }

// manifest.md, "Canonical encoding": sorted keys, shortest forms; whoever reads encodes again and compares. (sortKeys
// sorts by UTF-16, which for the keys used here is the order of their UTF-8 bytes.)
const pack = (value) => Buffer.from(encode(value, { sortKeys: true, useBigInt64: true }))
function unpack (bytes, limit) {
  need(bytes.length <= limit, `${bytes.length} bytes where at most ${limit} are allowed`)
  const value = decode(bytes, { useBigInt64: true, maxExtLength: 0 })
  need(pack(value).equals(bytes), 'not in canonical form')
  return value
}

// framing.md and messages.md: four bytes of length, the message; the blob of a chunk follows bare.
class Channel {
  constructor (stream) { this.stream = stream; this.bytes = byteStream(stream) }
  take = async (size) => (await this.bytes.read({ bytes: size, ...within(15) })).subarray()

  async send (message) {
    const body = pack(message)
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(body.length)
    await this.bytes.write(Buffer.concat([prefix, body]), within(15))
  }

  async receive (type, limit) {
    const size = Buffer.from(await this.take(4)).readUInt32BE()
    need(size >= 1 && size <= limit, `a frame of ${size} bytes`)
    const message = unpack(await this.take(size), limit)
    need(message.t === type, message.t === 'fail' ? `${message.code}: ${message.message}` : `${message.t} came`)
    return message
  }
}

// envelope.md: the signature covers domain, kind and the payload as it travelled. manifest.md, "Verify a release".
function openRelease (data) {
  const { v, kind, author, payload, signature, ...more } = unpack(data, 256 * 1024 + 256)
  need(v === 1 && kind === 'manifest' && Object.keys(more).length === 0, 'not an envelope of a manifest')
  if (flip === 'flip-manifest') payload[payload.length >> 1] ^= 1
  const x = Buffer.from(author).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  const signed = Buffer.concat([Buffer.from('p2pvoice/envelope/1\0manifest\0'), payload])
  need(verify(null, signed, key, signature), 'the signature does not fit')
  const manifest = unpack(payload, 256 * 1024)
  need(manifest.min_reader <= 3, 'written for newer readers')
  need(hex(manifest.author) === hex(author), 'the payload names another author')
  return { manifest, digest: sha256(payload) }
}

// ids.md: b, base32 in lower case without padding, over CIDv1, codec messagepack, SHA-256 of 32 bytes.
function releaseId (digest) {
  const bits = [...Buffer.from('0181041220', 'hex'), ...digest].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return 'b' + bits.match(/.{1,5}/g).map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[parseInt(five.padEnd(5, '0'), 2)]).join('')
}

async function fetchFile (channel, manifest, path) {
  const file = manifest.files.find((one) => one.path === path)
  const count = Math.min(file.chunks.length, 64)
  await channel.send({ t: 'want', file: file.digest, first: 0, count, codecs: ['raw'] })
  const whole = createHash('sha256')
  for (const [index, [size, digest]] of file.chunks.slice(0, count).entries()) {
    const answer = await channel.receive('chunk', 512)
    need(answer.index === index && answer.codec === 'raw' && answer.size === size && size <= 2 ** 20, 'not what was asked for')
    const chunk = await channel.take(size)
    if (flip === 'flip-chunk') chunk[size >> 1] ^= 1
    need(hex(sha256(chunk)) === hex(digest), `chunk ${index} of ${path}: wrong bytes`)
    say('chunk', { path, index, size, sha256: hex(digest) })
    whole.update(chunk)
  }
  if (count === file.chunks.length) need(whole.digest('hex') === hex(file.digest), `${path}: wrong bytes`)
  say('file', { path, chunks: count, of: file.chunks.length })
}

const node = await createLibp2p({
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    // The DHT pings whom it admits to its table, and gives a peer up when our own ping has the only stream just then.
    ping: ping({ maxOutboundStreams: 8 }),
    // discovery.md: a DHT of our own, under its own id. Private addresses count: a house is a network, too.
    dht: kadDHT({ protocol: '/p2pvoice/kad/1.0.0', clientMode: true, peerInfoMapper: passthroughMapper })
  }
})
try {
  const connection = await node.dial(multiaddr(address), within(10))
  say('dial', { peer: connection.remotePeer.toString() })
  say('ping', { milliseconds: await node.services.ping.ping(connection.remotePeer, within(10)) })

  // head.md: the key of a tag. The DHT's messages carry these 32 bytes bare; js-libp2p takes them out of a CID.
  const key = sha256('p2pvoice/key/tag/1\0', tag)
  let provider
  for await (const event of node.services.dht.findProviders({ multihash: { bytes: key } }, within(20))) {
    if (event.name === 'PROVIDER') provider ??= event.providers[0]
  }
  need(provider, `nobody provides ${tag}`)
  say('provider', { peer: provider.id.toString(), addresses: provider.multiaddrs.map(String) })

  const served = await node.dial(provider.id, within(10))
  const open = async (protocol) => new Channel(await served.newStream(protocol, within(10)))
  const catalog = await open('/p2pvoice/catalog/1.0.0')
  await catalog.send({ t: 'query', tags: [tag] })
  const page = await catalog.receive('page', 1024 * 1024 + 64 * 1024)
  need(page.releases.length, 'no release')
  const { manifest, digest } = openRelease(page.releases[0])
  need(manifest.tags.includes(tag), 'a release without the tag')
  say('manifest', { release: releaseId(digest), name: manifest.name, author: hex(manifest.author), signature: 'fits' })
  await fetchFile(await open('/p2pvoice/exchange/1.0.0'), manifest, 'gpt.safetensors')
} catch (error) {
  say('refused', { why: error.message })
  process.exitCode = 1
} finally {
  await node.stop()
}
