import Foundation

/// Where the library keeps what has to outlive the process: small records, each
/// under a name of its own, shared by the app and its notification extension.
///
/// The library never changes a record that another process may be changing: it
/// writes records whole, makes them once, and removes them. So an implementation
/// needs no locks across processes; an app that is suspended while it holds a
/// lock in a shared container is killed by the system.
public protocol Storage: Sendable {
    /// The record, or nil when there is none.
    func read(_ name: String) throws -> Data?
    /// Writes the record as a whole or, when it throws, leaves what was there.
    func write(_ record: Data, to name: String) throws
    /// Makes the record and answers true; answers false when there is one already.
    func make(_ name: String) throws -> Bool
    /// Removes the record; that there is none is no error.
    func remove(_ name: String) throws
    /// The names that begin so, with when they were written, by the phone's clock.
    func names(beginning prefix: String) throws -> [String: Date]
}

/// Records as files of one folder, as in the container of an app group.
///
/// What is kept here is readable before the first unlock: ids, times, and where
/// the server is. Keys and the credential are in ``Secrets``.
public struct Folder: Storage {
    private let url: URL

    /// Makes the folder where there is none.
    public init(_ url: URL) throws {
        self.url = url
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    public func read(_ name: String) throws -> Data? {
        do {
            return try Data(contentsOf: file(name))
        } catch where isMissing(error) {
            return nil
        }
    }

    public func write(_ record: Data, to name: String) throws {
        #if os(iOS) || os(watchOS) || os(tvOS) || os(visionOS)
            try record.write(to: file(name), options: [.atomic, .noFileProtection])
        #else
            try record.write(to: file(name), options: .atomic)
        #endif
    }

    public func make(_ name: String) throws -> Bool {
        do {
            #if os(iOS) || os(watchOS) || os(tvOS) || os(visionOS)
                try Data().write(to: file(name), options: [.withoutOverwriting, .noFileProtection])
            #else
                try Data().write(to: file(name), options: .withoutOverwriting)
            #endif
            return true
        } catch let error as CocoaError where error.code == .fileWriteFileExists {
            return false
        }
    }

    public func remove(_ name: String) throws {
        do {
            try FileManager.default.removeItem(at: file(name))
        } catch where isMissing(error) {}
    }

    public func names(beginning prefix: String) throws -> [String: Date] {
        var found: [String: Date] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: url.path) where name.hasPrefix(prefix) {
            // One that has just been removed by the other process is not there.
            guard let attributes = try? FileManager.default.attributesOfItem(atPath: file(name).path) else { continue }
            found[name] = attributes[.modificationDate] as? Date ?? .distantPast
        }
        return found
    }

    private func file(_ name: String) -> URL {
        // Names are made by the library, of ids that were checked when they came in.
        let safe = name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == ".") ? $0 : "_" }
        return url.appendingPathComponent(String(safe))
    }

    private func isMissing(_ error: any Error) -> Bool {
        guard let error = error as? CocoaError else { return false }
        return error.code == .fileReadNoSuchFile || error.code == .fileNoSuchFile
    }
}

/// Where keys and the credential are kept: readable after the first unlock,
/// shared with the notification extension. ``Keychain`` is the one for Apple's systems.
public protocol Secrets: Sendable {
    /// The secret, or nil when there is none. Throws ``SecretsLocked`` before the first unlock.
    func read(_ name: String) throws -> Data?
    func write(_ secret: Data, to name: String) throws
    /// Removes the secret; that there is none is no error.
    func remove(_ name: String) throws
}

/// Nobody has unlocked the phone since it was started.
public struct SecretsLocked: Error {
    public init() {}
}
