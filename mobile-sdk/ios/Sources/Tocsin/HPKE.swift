import Foundation

/// HPKE in base mode with the one suite of sealed texts (RFC 9180):
/// DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.
struct HPKE: Sendable {
    let crypto: any Crypto

    static let pointSize = 65
    private static let kem = Data("KEM".utf8) + Data([0x00, 0x10])
    private static let suite = Data("HPKE".utf8) + Data([0x00, 0x10, 0x00, 0x01, 0x00, 0x01])
    private static let base: UInt8 = 0

    /// Opens the first message to a key.
    ///
    /// - Parameter message: the encapsulated key and the ciphertext.
    func open(_ message: Data, privateKey: Data, info: Data, authenticating: Data) throws -> Data {
        guard message.count > Self.pointSize + 16 else { throw SealError() }
        let encapsulated = Data(message.prefix(Self.pointSize))
        let shared = try decapsulate(encapsulated, privateKey: privateKey)
        let context =
            Data([Self.base]) + labeledExtract(Self.suite, salt: Data(), "psk_id_hash", Data())
            + labeledExtract(Self.suite, salt: Data(), "info_hash", info)
        let secret = labeledExtract(Self.suite, salt: shared, "secret", Data())
        let key = labeledExpand(Self.suite, secret, "key", context, 16)
        let nonce = labeledExpand(Self.suite, secret, "base_nonce", context, 12)
        return try crypto.open(Data(message.dropFirst(Self.pointSize)), key: key, nonce: nonce, authenticating: authenticating)
    }

    private func decapsulate(_ encapsulated: Data, privateKey: Data) throws -> Data {
        let agreed = try crypto.agree(privateKey, with: encapsulated)
        let context = encapsulated + (try crypto.publicKey(of: privateKey))
        let key = labeledExtract(Self.kem, salt: Data(), "eae_prk", agreed)
        return labeledExpand(Self.kem, key, "shared_secret", context, 32)
    }

    private func labeledExtract(_ suite: Data, salt: Data, _ label: String, _ secret: Data) -> Data {
        crypto.extract(salt: salt, Data("HPKE-v1".utf8) + suite + Data(label.utf8) + secret)
    }

    private func labeledExpand(_ suite: Data, _ key: Data, _ label: String, _ info: Data, _ count: Int) -> Data {
        let length = Data([UInt8(count >> 8), UInt8(count & 0xFF)])
        return crypto.expand(key, info: length + Data("HPKE-v1".utf8) + suite + Data(label.utf8) + info, count: count)
    }
}

/// It does not open. What was wrong is nobody's business.
struct SealError: Error {}
