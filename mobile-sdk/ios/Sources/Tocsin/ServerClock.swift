import Foundation

/// The server's time, as far as the phone can tell: its own clock, and how far
/// that was off at the last answer.
///
/// Deadlines are the server's, and a phone's clock may be an hour off. What was
/// learned is kept for the notification extension and for the next start.
final class ServerClock: Sendable {
    private let system: SystemClock
    private let storage: any Storage
    private let state: Locked<State>

    private struct State {
        var offset: TimeInterval
        var error: TimeInterval // how wrong the offset may be
        var learned: Date // by the phone's clock
    }

    /// What is known is used for so long against a worse measurement: a Date
    /// header has no fractions of a second.
    private static let memory: TimeInterval = 600
    static let record = "clock"

    init(system: SystemClock, storage: any Storage) {
        self.system = system
        self.storage = storage
        var offset = 0.0
        if let kept = try? storage.read(Self.record), let known = try? JSON(kept) {
            offset = known["offset"].double
        }
        state = Locked(State(offset: offset, error: .infinity, learned: .distantPast))
    }

    /// The time by the server.
    var now: Date { server(system.now()) }

    /// How far the phone is behind the server, in seconds; negative when ahead.
    var offset: TimeInterval { state.with { $0.offset } }

    /// The server's time when the phone's clock showed this.
    func server(_ phone: Date) -> Date { phone.addingTimeInterval(offset) }

    /// Learns from one answer.
    ///
    /// - Parameters:
    ///   - server: what the server's clock showed.
    ///   - resolution: of that, in seconds: the true time lies up to so much later.
    ///   - sent: when the request left, by the phone's clock.
    ///   - answered: when the answer was there, by the phone's clock.
    func learn(_ server: Date, resolution: TimeInterval, sent: Date, answered: Date) {
        let travel = answered.timeIntervalSince(sent)
        guard travel >= 0 else { return } // the phone's clock was set meanwhile: the next answer tells
        let offset = server.timeIntervalSince(sent) + resolution / 2 - travel / 2
        let error = (resolution + travel) / 2
        let keep: Bool = state.with { known in
            let contradicts = abs(offset - known.offset) > error + known.error
            let old = answered.timeIntervalSince(known.learned) > Self.memory || answered < known.learned
            guard contradicts || old || error <= known.error else { return false }
            let before = known.offset
            known = State(offset: offset, error: error, learned: answered)
            return abs(before - offset) > 1
        }
        if keep {
            // Without it the next start takes the phone's clock until its first answer.
            try? storage.write(JSON(.object(["offset": JSON(.double(offset))])).data, to: Self.record)
        }
    }
}

/// A value that one thread at a time may touch.
final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    init(_ value: Value) { self.value = value }

    func with<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
