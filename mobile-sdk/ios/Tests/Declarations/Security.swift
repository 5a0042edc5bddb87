import Foundation

// Core Foundation's types are Swift's own here, which is what they bridge to.
public typealias OSStatus = Int32
public typealias CFString = String
public typealias CFDictionary = [String: Any]
public typealias CFTypeRef = AnyObject
public typealias CFAllocator = AnyObject
public typealias CFError = AnyObject

public struct Unmanaged<Instance> {}
public final class SecAccessControl: Sendable {}

public struct SecAccessControlCreateFlags: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
    public static let privateKeyUsage = SecAccessControlCreateFlags(rawValue: 1)
}

public let kSecClass = "", kSecClassGenericPassword = "", kSecAttrService = "", kSecAttrAccount = "", kSecAttrAccessGroup = ""
public let kSecAttrAccessible = "", kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly = "", kSecAttrAccessibleWhenUnlockedThisDeviceOnly = ""
public let kSecValueData = "", kSecReturnData = "", kSecMatchLimit = "", kSecMatchLimitOne = "", kSecUseDataProtectionKeychain = ""
public let errSecSuccess: OSStatus = 0, errSecParam: OSStatus = -50
public let errSecItemNotFound: OSStatus = -25_300, errSecInteractionNotAllowed: OSStatus = -25_308

public func SecItemCopyMatching(_ query: CFDictionary, _ result: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { 0 }
public func SecItemAdd(_ attributes: CFDictionary, _ result: UnsafeMutablePointer<CFTypeRef?>?) -> OSStatus { 0 }
public func SecItemUpdate(_ query: CFDictionary, _ attributesToUpdate: CFDictionary) -> OSStatus { 0 }
public func SecItemDelete(_ query: CFDictionary) -> OSStatus { 0 }
public func SecAccessControlCreateWithFlags(
    _ allocator: CFAllocator?, _ protection: Any, _ flags: SecAccessControlCreateFlags, _ error: UnsafeMutablePointer<Unmanaged<CFError>?>?
) -> SecAccessControl? { nil }

extension FileManager {
    public func containerURL(forSecurityApplicationGroupIdentifier groupIdentifier: String) -> URL? { nil }
}
