import Foundation
import Tocsin

/// The primitives in plain Swift, so that sealed texts and signatures are checked
/// where there is no CryptoKit. For tests only: it is slow, and takes a time that
/// depends on the keys.
struct TestCrypto: Crypto {
    func makeKey() throws -> Data { P256.makeKey() }

    func publicKey(of privateKey: Data) throws -> Data {
        try P256.times(privateKey, P256.generator).bytes
    }

    func agree(_ privateKey: Data, with publicKey: Data) throws -> Data {
        try P256.times(privateKey, try P256.Point(bytes: publicKey)).x.bytes
    }

    func hmac(key: Data, _ message: Data) -> Data { SHA256.hmac(key: key, message) }

    func open(_ sealed: Data, key: Data, nonce: Data, authenticating: Data) throws -> Data {
        try GCM(key: key).open(sealed, nonce: nonce, authenticating: authenticating)
    }
}

/// A key that can be locked.
final class TestUnlockKey: UnlockKey, @unchecked Sendable {
    private let key = P256.makeKey()
    var isLocked = false

    func publicKey() throws -> Data { try P256.times(key, P256.generator).bytes }

    func sign(_ message: Data) throws -> Data {
        if isLocked { throw SecretsLocked() }
        return try P256.sign(message, with: key)
    }
}

struct CryptoFailure: Error {}

enum SHA256 {
    private static let constants: [UInt32] = {
        // The fractions of the cube roots of the first 64 primes.
        var primes: [Int] = []
        var n = 2
        while primes.count < 64 {
            if primes.allSatisfy({ n % $0 != 0 }) { primes.append(n) }
            n += 1
        }
        return primes.map { UInt32(truncatingIfNeeded: UInt64((cbrt(Double($0)).truncatingRemainder(dividingBy: 1)) * 4_294_967_296)) }
    }()

    static func hash(_ message: Data) -> Data {
        var state: [UInt32] = [
            0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
        ]
        var padded = [UInt8](message) + [0x80]
        while padded.count % 64 != 56 { padded.append(0) }
        padded += (0..<8).map { UInt8(truncatingIfNeeded: UInt64(message.count * 8) >> (56 - 8 * UInt64($0))) }
        func rotate(_ word: UInt32, _ by: UInt32) -> UInt32 { word >> by | word << (32 - by) }
        for start in stride(from: 0, to: padded.count, by: 64) {
            var w = (0..<16).map { i in (0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(padded[start + i * 4 + $1]) } }
            for i in 16..<64 {
                let s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3
                let s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10
                w.append(w[i - 16] &+ s0 &+ w[i - 7] &+ s1)
            }
            var v = state
            for i in 0..<64 {
                let s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)
                let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
                let t1 = v[7] &+ s1 &+ choice &+ constants[i] &+ w[i]
                let s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)
                let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
                v = [t1 &+ s0 &+ majority, v[0], v[1], v[2], v[3] &+ t1, v[4], v[5], v[6]]
            }
            for i in 0..<8 { state[i] = state[i] &+ v[i] }
        }
        return Data(state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) } })
    }

    static func hmac(key: Data, _ message: Data) -> Data {
        var block = [UInt8](key.count > 64 ? hash(key) : key)
        block += [UInt8](repeating: 0, count: 64 - block.count)
        return hash(Data(block.map { $0 ^ 0x5c }) + hash(Data(block.map { $0 ^ 0x36 }) + message))
    }
}

/// AES-128 in Galois/Counter Mode, NIST SP 800-38D.
struct GCM {
    private let roundKeys: [[UInt8]]

    private static let box: [UInt8] = {
        var box = [UInt8](repeating: 0, count: 256)
        var p: UInt8 = 1, q: UInt8 = 1
        repeat { // p goes through the field by 3, q by the inverse of 3
            p = p ^ p << 1 ^ (p & 0x80 != 0 ? 0x1b : 0)
            q ^= q << 1
            q ^= q << 2
            q ^= q << 4
            if q & 0x80 != 0 { q ^= 0x09 }
            func rotate(_ by: UInt8) -> UInt8 { q << by | q >> (8 - by) }
            box[Int(p)] = q ^ rotate(1) ^ rotate(2) ^ rotate(3) ^ rotate(4) ^ 0x63
        } while p != 1
        box[0] = 0x63
        return box
    }()

    init(key: Data) {
        var words = stride(from: 0, to: 16, by: 4).map { Array([UInt8](key)[$0..<$0 + 4]) }
        var round: UInt8 = 1
        for i in 4..<44 {
            var word = words[i - 1]
            if i % 4 == 0 {
                word = (Array(word[1...]) + [word[0]]).map { Self.box[Int($0)] }
                word[0] ^= round
                round = round << 1 ^ (round & 0x80 != 0 ? 0x1b : 0)
            }
            words.append(zip(words[i - 4], word).map { $0 ^ $1 })
        }
        roundKeys = (0..<11).map { words[$0 * 4..<$0 * 4 + 4].flatMap { $0 } }
    }

    private func encrypt(_ block: [UInt8]) -> [UInt8] {
        func double(_ byte: UInt8) -> UInt8 { byte << 1 ^ (byte & 0x80 != 0 ? 0x1b : 0) }
        var state = zip(block, roundKeys[0]).map { $0 ^ $1 }
        for round in 1...10 {
            state = state.map { Self.box[Int($0)] }
            state = (0..<16).map { state[($0 + 4 * ($0 % 4)) % 16] }
            if round < 10 {
                for column in stride(from: 0, to: 16, by: 4) {
                    let c = Array(state[column..<column + 4])
                    for i in 0..<4 {
                        state[column + i] = double(c[i]) ^ double(c[(i + 1) % 4]) ^ c[(i + 1) % 4] ^ c[(i + 2) % 4] ^ c[(i + 3) % 4]
                    }
                }
            }
            state = zip(state, roundKeys[round]).map { $0 ^ $1 }
        }
        return state
    }

    func open(_ sealed: Data, nonce: Data, authenticating: Data) throws -> Data {
        guard sealed.count >= 16 else { throw CryptoFailure() }
        let text = [UInt8](sealed.dropLast(16)), tag = [UInt8](sealed.suffix(16))
        func counter(_ n: UInt32) -> [UInt8] {
            [UInt8](nonce) + (0..<4).map { UInt8(truncatingIfNeeded: n >> (24 - 8 * UInt32($0))) }
        }
        let digest = hash([UInt8](authenticating), text)
        guard zip(digest, encrypt(counter(1))).map({ $0 ^ $1 }) == tag else { throw CryptoFailure() }
        var plain: [UInt8] = []
        for (index, start) in stride(from: 0, to: text.count, by: 16).enumerated() {
            let block = text[start..<min(start + 16, text.count)]
            plain += zip(block, encrypt(counter(UInt32(index) + 2))).map { $0 ^ $1 }
        }
        return Data(plain)
    }

    private func hash(_ authenticated: [UInt8], _ text: [UInt8]) -> [UInt8] {
        func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        func padded(_ bytes: [UInt8]) -> [UInt8] { bytes + [UInt8](repeating: 0, count: (16 - bytes.count % 16) % 16) }
        let h = encrypt([UInt8](repeating: 0, count: 16))
        let key = (word(h[0..<8]), word(h[8..<16]))
        func big(_ count: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: UInt64(count * 8) >> (56 - 8 * UInt64($0))) } }
        let all = padded(authenticated) + padded(text) + big(authenticated.count) + big(text.count)
        var y: (UInt64, UInt64) = (0, 0)
        for start in stride(from: 0, to: all.count, by: 16) {
            y = (y.0 ^ word(all[start..<start + 8]), y.1 ^ word(all[start + 8..<start + 16]))
            var product: (UInt64, UInt64) = (0, 0), v = key
            for bit in 0..<128 {
                let isSet = bit < 64 ? y.0 >> (63 - UInt64(bit)) & 1 : y.1 >> (127 - UInt64(bit)) & 1
                if isSet == 1 { product = (product.0 ^ v.0, product.1 ^ v.1) }
                let last = v.1 & 1
                v = (v.0 >> 1, v.1 >> 1 | v.0 << 63)
                if last == 1 { v.0 ^= 0xe1 << 56 }
            }
            y = product
        }
        return (0..<8).map { UInt8(truncatingIfNeeded: y.0 >> (56 - 8 * UInt64($0))) } + (0..<8).map { UInt8(truncatingIfNeeded: y.1 >> (56 - 8 * UInt64($0))) }
    }
}

/// The curve of FIPS 186, y² = x³ - 3x + b, by the plain formulas.
enum P256 {
    static let p = Number(hex: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff")
    static let n = Number(hex: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    static let b = Number(hex: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    static let generator = Point(
        x: Number(hex: "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"),
        y: Number(hex: "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"))

    struct Point: Equatable {
        var x: Number
        var y: Number

        init(x: Number, y: Number) { (self.x, self.y) = (x, y) }

        /// An uncompressed point of the curve.
        init(bytes: Data) throws {
            let all = [UInt8](bytes)
            guard all.count == 65, all[0] == 4 else { throw CryptoFailure() }
            (x, y) = (Number(bytes: Array(all[1..<33])), Number(bytes: Array(all[33..<65])))
            let f = Field(p)
            let right = f.add(f.subtract(f.times(f.times(x, x), x), f.times(Number(3), x)), b)
            guard x < p, y < p, f.times(y, y) == right else { throw CryptoFailure() }
        }

        var bytes: Data { Data([4]) + x.bytes + y.bytes }
    }

    static func makeKey() -> Data {
        while true {
            let key = Data((0..<32).map { _ in UInt8.random(in: 0...255) })
            let number = Number(bytes: [UInt8](key))
            if number < n, number != Number(0) { return key }
        }
    }

    /// In Jacobian coordinates, double and add.
    static func times(_ scalar: Data, _ point: Point) throws -> Point {
        let f = Field(p)
        var sum: (x: Number, y: Number, z: Number)?
        for byte in scalar {
            for bit in 0..<8 {
                sum = sum.map { double($0, f) }
                if byte >> (7 - UInt8(bit)) & 1 == 1 { sum = add(sum, point, f) }
            }
        }
        guard let sum, sum.z != Number(0) else { throw CryptoFailure() }
        let inverse = f.invert(sum.z)
        let square = f.times(inverse, inverse)
        return Point(x: f.times(sum.x, square), y: f.times(sum.y, f.times(square, inverse)))
    }

    private static func double(_ a: (x: Number, y: Number, z: Number), _ f: Field) -> (x: Number, y: Number, z: Number) {
        let zz = f.times(a.z, a.z), yy = f.times(a.y, a.y)
        let s = f.times(Number(4), f.times(a.x, yy))
        let m = f.times(Number(3), f.times(f.subtract(a.x, zz), f.add(a.x, zz)))
        let x = f.subtract(f.times(m, m), f.add(s, s))
        let y = f.subtract(f.times(m, f.subtract(s, x)), f.times(Number(8), f.times(yy, yy)))
        return (x, y, f.times(Number(2), f.times(a.y, a.z)))
    }

    private static func add(_ a: (x: Number, y: Number, z: Number)?, _ point: Point, _ f: Field) -> (x: Number, y: Number, z: Number) {
        guard let a else { return (point.x, point.y, Number(1)) }
        let zz = f.times(a.z, a.z)
        let h = f.subtract(f.times(point.x, zz), a.x)
        let r = f.subtract(f.times(point.y, f.times(zz, a.z)), a.y)
        if h == Number(0) { return r == Number(0) ? double(a, f) : (a.x, a.y, Number(0)) }
        let hh = f.times(h, h), hhh = f.times(hh, h), v = f.times(a.x, hh)
        let x = f.subtract(f.subtract(f.times(r, r), hhh), f.add(v, v))
        let y = f.subtract(f.times(r, f.subtract(v, x)), f.times(a.y, hhh))
        return (x, y, f.times(a.z, h))
    }

    /// ECDSA with SHA-256, in ASN.1 DER.
    static func sign(_ message: Data, with key: Data) throws -> Data {
        let f = Field(n)
        let hash = f.reduce(Number(bytes: [UInt8](SHA256.hash(message))))
        let nonce = makeKey()
        let r = f.reduce(try times(nonce, generator).x)
        let s = f.times(f.invert(Number(bytes: [UInt8](nonce))), f.add(hash, f.times(r, Number(bytes: [UInt8](key)))))
        func integer(_ number: Number) -> [UInt8] {
            var bytes = Array([UInt8](number.bytes).drop { $0 == 0 })
            if bytes.first.map({ $0 & 0x80 != 0 }) ?? true { bytes.insert(0, at: 0) }
            return [0x02, UInt8(bytes.count)] + bytes
        }
        let body = integer(r) + integer(s)
        return Data([0x30, UInt8(body.count)] + body)
    }
}

/// 256 bits, the lowest 64 first.
struct Number: Equatable, Comparable {
    var words: [UInt64]

    init(_ small: UInt64) { words = [small, 0, 0, 0] }

    init(bytes: [UInt8]) {
        words = (0..<4).map { i in bytes[(3 - i) * 8..<(4 - i) * 8].reduce(0) { $0 << 8 | UInt64($1) } }
    }

    init(hex: String) {
        let digits = Array(hex)
        self.init(bytes: stride(from: 0, to: 64, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) ?? 0 })
    }

    var bytes: Data {
        Data(words.reversed().flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) } })
    }

    static func < (a: Number, b: Number) -> Bool {
        for i in (0..<4).reversed() where a.words[i] != b.words[i] { return a.words[i] < b.words[i] }
        return false
    }
}

/// Numbers below a modulus of 256 bits, by the shift-and-subtract of schoolbooks.
struct Field {
    let modulus: Number

    init(_ modulus: Number) { self.modulus = modulus }

    func reduce(_ a: Number) -> Number { a < modulus ? a : minus(a, modulus).difference }

    func add(_ a: Number, _ b: Number) -> Number {
        var sum = Number(0), carry: UInt64 = 0
        for i in 0..<4 {
            let (x, first) = a.words[i].addingReportingOverflow(b.words[i])
            let (y, second) = x.addingReportingOverflow(carry)
            sum.words[i] = y
            carry = (first ? 1 : 0) + (second ? 1 : 0)
        }
        return carry == 1 || sum >= modulus ? minus(sum, modulus).difference : sum
    }

    func subtract(_ a: Number, _ b: Number) -> Number {
        let (difference, borrow) = minus(a, b)
        if !borrow { return difference }
        return minus(difference, minus(Number(0), modulus).difference).difference
    }

    private func minus(_ a: Number, _ b: Number) -> (difference: Number, borrow: Bool) {
        var difference = Number(0), borrow: UInt64 = 0
        for i in 0..<4 {
            let (x, first) = a.words[i].subtractingReportingOverflow(b.words[i])
            let (y, second) = x.subtractingReportingOverflow(borrow)
            difference.words[i] = y
            borrow = (first ? 1 : 0) + (second ? 1 : 0)
        }
        return (difference, borrow == 1)
    }

    /// By 2²⁵⁶ ≡ 2²⁵⁶ - m, folded until nothing is above.
    func times(_ a: Number, _ b: Number) -> Number {
        var product = [UInt64](repeating: 0, count: 8)
        for i in 0..<4 {
            var carry: UInt64 = 0
            for j in 0..<4 {
                let (high, low) = a.words[i].multipliedFullWidth(by: b.words[j])
                let (x, first) = product[i + j].addingReportingOverflow(low)
                let (y, second) = x.addingReportingOverflow(carry)
                product[i + j] = y
                carry = high + (first ? 1 : 0) + (second ? 1 : 0)
            }
            product[i + 4] = carry
        }
        let fold = minus(Number(0), modulus).difference.words
        while product[4...].contains(where: { $0 != 0 }) {
            let above = Array(product[4...])
            product = Array(product[..<4]) + [0, 0, 0, 0]
            for i in 0..<4 where above[i] != 0 {
                var carry: UInt64 = 0
                for j in 0..<4 {
                    let (high, low) = above[i].multipliedFullWidth(by: fold[j])
                    let (x, first) = product[i + j].addingReportingOverflow(low)
                    let (y, second) = x.addingReportingOverflow(carry)
                    product[i + j] = y
                    carry = high + (first ? 1 : 0) + (second ? 1 : 0)
                }
                var k = i + 4
                while carry != 0, k < 8 {
                    let (x, over) = product[k].addingReportingOverflow(carry)
                    product[k] = x
                    carry = over ? 1 : 0
                    k += 1
                }
            }
        }
        var result = Number(0)
        result.words = Array(product[..<4])
        return reduce(result)
    }

    /// By Fermat: a to the power of m - 2.
    func invert(_ a: Number) -> Number {
        let exponent = minus(modulus, Number(2)).difference
        var result = Number(1)
        for i in (0..<256).reversed() {
            result = times(result, result)
            if exponent.words[i / 64] >> UInt64(i % 64) & 1 == 1 { result = times(result, a) }
        }
        return result
    }
}
