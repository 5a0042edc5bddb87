import Foundation

/// The primitives under sealed texts. ``CryptoKitCrypto`` has Apple's.
///
/// What is built of them (HKDF, the key schedule of HPKE, the framing of the
/// text) is the library's own, so that the code that runs on phones is the one
/// that passes the vectors wherever it is tested.
public protocol Crypto: Sendable {
    /// A new private key of P-256: the scalar, 32 bytes.
    func makeKey() throws -> Data
    /// Its public key: the uncompressed point, 65 bytes.
    func publicKey(of privateKey: Data) throws -> Data
    /// ECDH: the x coordinate, 32 bytes. Throws for a point that is not on the curve.
    func agree(_ privateKey: Data, with publicKey: Data) throws -> Data
    /// HMAC with SHA-256: 32 bytes.
    func hmac(key: Data, _ message: Data) -> Data
    /// AES-128-GCM. Throws when the tag, the last 16 bytes of `sealed`, is not right.
    func open(_ sealed: Data, key: Data, nonce: Data, authenticating: Data) throws -> Data
}

/// The key that signs what needs an unlocked phone. ``EnclaveKey`` is the one for Apple's systems.
public protocol UnlockKey: Sendable {
    /// The uncompressed point of P-256, 65 bytes.
    func publicKey() throws -> Data
    /// ECDSA with SHA-256, in ASN.1 DER. Throws while the phone is locked.
    func sign(_ message: Data) throws -> Data
}

extension Crypto {
    func extract(salt: Data, _ secret: Data) -> Data {
        hmac(key: salt, secret)
    }

    /// HKDF-Expand, RFC 5869.
    func expand(_ key: Data, info: Data, count: Int) -> Data {
        var output = Data(), block = Data()
        var index: UInt8 = 1
        while output.count < count {
            block = hmac(key: key, block + info + [index])
            output += block
            index += 1
        }
        return output.prefix(count)
    }
}
