import Foundation
import Tocsin

/// A ``Storage`` that forgets everything with the process, and can be full.
public final class MemoryStorage: Storage {
    private let state = Box((records: [String: (Data, Date)](), isFull: false))
    private let now: @Sendable () -> Date

    /// Whoever makes a second phone on the same storage sees what the first one kept: that is a restart of the app.
    public init(now: @escaping @Sendable () -> Date = { Date() }) { self.now = now }

    /// Whether every write fails, as on a phone without room.
    public var isFull: Bool {
        get { state.with { $0.isFull } }
        set { state.with { $0.isFull = newValue } }
    }

    public func read(_ name: String) -> Data? {
        state.with { $0.records[name]?.0 }
    }

    public func write(_ record: Data, to name: String) throws {
        try state.with { state in
            if state.isFull { throw CocoaError(.fileWriteOutOfSpace) }
            state.records[name] = (record, now())
        }
    }

    public func make(_ name: String) throws -> Bool {
        try state.with { state in
            if state.records[name] != nil { return false }
            if state.isFull { throw CocoaError(.fileWriteOutOfSpace) }
            state.records[name] = (Data(), now())
            return true
        }
    }

    public func remove(_ name: String) {
        state.with { $0.records[name] = nil }
    }

    public func names(beginning prefix: String) -> [String: Date] {
        state.with { $0.records.filter { $0.key.hasPrefix(prefix) }.mapValues(\.1) }
    }
}

/// ``Secrets`` that forget everything with the process, and can be locked.
public final class MemorySecrets: Secrets {
    private let state = Box((secrets: [String: Data](), isLocked: false))

    public init() {}

    /// Whether nobody has unlocked the phone since it was started.
    public var isLocked: Bool {
        get { state.with { $0.isLocked } }
        set { state.with { $0.isLocked = newValue } }
    }

    public func read(_ name: String) throws -> Data? {
        try state.with { state in
            if state.isLocked { throw SecretsLocked() }
            return state.secrets[name]
        }
    }

    public func write(_ secret: Data, to name: String) throws {
        try state.with { state in
            if state.isLocked { throw SecretsLocked() }
            state.secrets[name] = secret
        }
    }

    public func remove(_ name: String) throws {
        try state.with { state in
            if state.isLocked { throw SecretsLocked() }
            state.secrets[name] = nil
        }
    }
}

/// A value that one thread at a time may touch.
final class Box<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
