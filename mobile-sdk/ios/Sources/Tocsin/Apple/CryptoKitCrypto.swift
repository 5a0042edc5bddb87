#if canImport(CryptoKit)
    import CryptoKit
    import Foundation

    /// The primitives of CryptoKit.
    public struct CryptoKitCrypto: Crypto {
        public init() {}

        public func makeKey() throws -> Data {
            P256.KeyAgreement.PrivateKey().rawRepresentation
        }

        public func publicKey(of privateKey: Data) throws -> Data {
            try P256.KeyAgreement.PrivateKey(rawRepresentation: privateKey).publicKey.x963Representation
        }

        public func agree(_ privateKey: Data, with publicKey: Data) throws -> Data {
            let key = try P256.KeyAgreement.PrivateKey(rawRepresentation: privateKey)
            let secret = try key.sharedSecretFromKeyAgreement(with: P256.KeyAgreement.PublicKey(x963Representation: publicKey))
            return secret.withUnsafeBytes { Data($0) }
        }

        public func hmac(key: Data, _ message: Data) -> Data {
            Data(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
        }

        public func open(_ sealed: Data, key: Data, nonce: Data, authenticating: Data) throws -> Data {
            let box = try AES.GCM.SealedBox(nonce: AES.GCM.Nonce(data: nonce), ciphertext: sealed.dropLast(16), tag: sealed.suffix(16))
            return try AES.GCM.open(box, using: SymmetricKey(data: key), authenticating: authenticating)
        }
    }
#endif
