// Moves one file between two js-libp2p nodes, for `p2pvoice bench fetch --against js`.
//
//   node transfer.mjs serve FILE             prints {"address": …}, and at the end of its stdin what it took
//   node transfer.mjs fetch ADDRESS COPY     prints what it took once COPY is whole, verified and on disk
//
// TCP, Noise, Yamux with their defaults. The first byte asks for the list of chunks (count, then size and SHA-256 of each, then the
// SHA-256 of the whole), each further one for the next chunk, bare; eight are asked for ahead. What is fetched is verified and kept as
// p2pvoice keeps it: each chunk against its digest, written at its place, synced by fours; the whole hash is taken as they come. The
// server reads chunks as they are asked for and, unlike p2pvoice, does not hash them again.

import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
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

const PROTOCOL = '/p2pvoice-bench/file/1'
const CHUNK = 2 ** 20
const BATCH = 4
const AHEAD = 8
const buffered = (stream) => byteStream(stream, { maxBufferSize: 2 * AHEAD * CHUNK })
const [role, place, copy] = process.argv.slice(2)
const say = (facts) => console.log(JSON.stringify(facts))
const sha256 = (bytes) => createHash('sha256').update(bytes).digest()
const spent = (since) => { const used = process.cpuUsage(since); return (used.user + used.system) / 1e6 }

const node = await createLibp2p({
  addresses: { listen: role === 'serve' ? ['/ip4/127.0.0.1/tcp/0'] : [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()]
})

async function serve () {
  const file = await open(place)
  const size = (await file.stat()).size
  const whole = createHash('sha256')
  const list = []
  for (let at = 0; at < size; at += CHUNK) {
    const chunk = Buffer.alloc(Math.min(CHUNK, size - at))
    await file.read(chunk, 0, chunk.length, at)
    const entry = Buffer.alloc(36)
    entry.writeUInt32BE(chunk.length)
    sha256(chunk).copy(entry, 4)
    list.push(entry)
    whole.update(chunk)
  }
  const head = Buffer.alloc(4)
  head.writeUInt32BE(list.length)
  const manifest = Buffer.concat([head, ...list, whole.digest()])
  let began
  await node.handle(PROTOCOL, async (stream) => {
    began = process.cpuUsage()
    const bytes = buffered(stream)
    await bytes.read({ bytes: 1 })
    await bytes.write(manifest)
    for (let at = 0; at < size; at += CHUNK) {
      await bytes.read({ bytes: 1 })
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - at))
      await file.read(chunk, 0, chunk.length, at)
      await bytes.write(chunk)
    }
    await stream.close()
  })
  say({ address: node.getMultiaddrs()[0].toString() })
  process.stdin.on('end', async () => {
    say({ cpu: spent(began) })
    await node.stop()
    process.exit(0)
  }).resume()
}

async function fetch () {
  const began = process.cpuUsage()
  const clock = process.hrtime.bigint()
  const stream = await (await node.dial(multiaddr(place))).newStream(PROTOCOL)
  const bytes = buffered(stream)
  await bytes.write(Buffer.alloc(1 + AHEAD))
  const take = async (size) => (await bytes.read({ bytes: size })).subarray()
  const count = Buffer.from(await take(4)).readUInt32BE()
  const list = Buffer.from(await take(36 * count + 32))
  const file = await open(copy, 'w')
  const whole = createHash('sha256')
  let at = 0
  for (let index = 0; index < count; index++) {
    const entry = list.subarray(36 * index, 36 * index + 36)
    const chunk = await take(entry.readUInt32BE())
    if (index + AHEAD < count) await bytes.write(Buffer.alloc(1))
    if (!sha256(chunk).equals(entry.subarray(4))) throw new Error(`chunk ${index}: wrong bytes`)
    whole.update(chunk)
    await file.write(chunk, 0, chunk.length, at)
    at += chunk.length
    if (index % BATCH === BATCH - 1) await file.datasync()
  }
  await file.datasync()
  await file.close()
  if (!whole.digest().equals(list.subarray(36 * count))) throw new Error('the whole has wrong bytes')
  say({ cpu: spent(began), wall: Number(process.hrtime.bigint() - clock) / 1e9, peak: process.resourceUsage().maxRSS * 1024, size: at })
  await node.stop()
  process.exit(0)
}

await (role === 'serve' ? serve() : fetch())
