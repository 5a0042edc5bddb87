#if canImport(CryptoKit) && canImport(Security)
    import CryptoKit
    import Foundation
    import Security

    /// The unlock key in the Secure Enclave, which uses it only while the phone is
    /// unlocked. What is kept of it is good for nothing on any other phone.
    public struct EnclaveKey: UnlockKey {
        private let secrets: any Secrets

        public init(_ secrets: any Secrets) {
            self.secrets = secrets
        }

        public func publicKey() throws -> Data {
            try key().publicKey.x963Representation
        }

        public func sign(_ message: Data) throws -> Data {
            try key().signature(for: message).derRepresentation
        }

        /// The key; made at its first use.
        private func key() throws -> SecureEnclave.P256.Signing.PrivateKey {
            if let kept = try secrets.read(Account.unlockKey), let key = try? SecureEnclave.P256.Signing.PrivateKey(dataRepresentation: kept) { return key }
            guard
                let whileUnlocked = SecAccessControlCreateWithFlags(
                    nil, kSecAttrAccessibleWhenUnlockedThisDeviceOnly, .privateKeyUsage, nil)
            else { throw KeychainError(status: errSecParam) }
            let key = try SecureEnclave.P256.Signing.PrivateKey(accessControl: whileUnlocked)
            try secrets.write(key.dataRepresentation, to: Account.unlockKey)
            return key
        }
    }
#endif
