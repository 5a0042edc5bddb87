#if canImport(Security)
    import Foundation
    import Security

    /// The keychain: readable after the first unlock, never copied to another
    /// phone, and shared with the notification extension by an access group.
    public struct Keychain: Secrets {
        private let service = "dev.tocsin.phone"
        private let accessGroup: String?

        /// - Parameter accessGroup: an app group of app and extension, or a keychain access group with its team prefix; nil for the app's own.
        public init(accessGroup: String? = nil) {
            self.accessGroup = accessGroup
        }

        public func read(_ name: String) throws -> Data? {
            var query = item(name)
            query[kSecReturnData as String] = true
            query[kSecMatchLimit as String] = kSecMatchLimitOne
            var found: CFTypeRef?
            let status = SecItemCopyMatching(query as CFDictionary, &found)
            if status == errSecItemNotFound { return nil }
            try check(status)
            return found as? Data
        }

        public func write(_ secret: Data, to name: String) throws {
            let value: [String: Any] = [
                kSecValueData as String: secret,
                kSecAttrAccessible as String: kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly,
            ]
            let status = SecItemUpdate(item(name) as CFDictionary, value as CFDictionary)
            guard status == errSecItemNotFound else { return try check(status) }
            try check(SecItemAdd(item(name).merging(value) { $1 } as CFDictionary, nil))
        }

        public func remove(_ name: String) throws {
            let status = SecItemDelete(item(name) as CFDictionary)
            if status != errSecItemNotFound { try check(status) }
        }

        private func item(_ name: String) -> [String: Any] {
            var query: [String: Any] = [
                kSecClass as String: kSecClassGenericPassword, kSecAttrService as String: service, kSecAttrAccount as String: name,
                kSecUseDataProtectionKeychain as String: true,
            ]
            if let accessGroup { query[kSecAttrAccessGroup as String] = accessGroup }
            return query
        }

        private func check(_ status: OSStatus) throws {
            switch status {
            case errSecSuccess: return
            case errSecInteractionNotAllowed: throw SecretsLocked()
            default: throw KeychainError(status: status)
            }
        }
    }

    /// The keychain refuses; the number is Apple's.
    public struct KeychainError: Error, CustomStringConvertible {
        public let status: OSStatus

        public var description: String { "the keychain refuses (\(status))" }
    }
#endif
