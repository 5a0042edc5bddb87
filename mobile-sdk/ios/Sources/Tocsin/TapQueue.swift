import Foundation

/// The pauses between tries: 1 s, doubled up to 30 s, between half and all of that
/// at random, and at least what the server asks for.
struct Pauses: Sendable {
    private static let first: TimeInterval = 1
    private static let most: TimeInterval = 30

    /// From 0 to 1.
    let random: @Sendable () -> Double

    /// - Parameters:
    ///   - tries: how many have failed, from 1.
    ///   - wanted: what the server asks for, in seconds.
    func after(_ tries: Int, wanted: TimeInterval = 0) -> TimeInterval {
        let bound = min(Self.first * pow(2, Double(min(tries, 10) - 1)), Self.most)
        return max(bound * (0.5 + random() / 2), wanted)
    }
}

/// What becomes of taps that do not get through at once: pure, in the phone's time.
/// `mobile-sdk/vectors/queue.json` has it step by step.
struct TapQueue: Sendable {
    /// What the person sees of a tap.
    enum Shows: Sendable {
        case acting, unconfirmed, done, refused, givenUp

        var isOver: Bool { self != .acting && self != .unconfirmed }
    }

    /// What came of a try.
    enum Result: Sendable {
        case done
        case refused
        /// No answer, or one that says to try again, in so many seconds at least.
        case retry(wanted: TimeInterval)
    }

    struct Entry: Sendable {
        let tap: Tap
        var shows = Shows.acting
        fileprivate var isFlying = false
        fileprivate var tries = 0
        fileprivate var due: Date
    }

    private(set) var entries: [Entry] = []
    let pauses: Pauses
    /// How far the phone is behind the server, in seconds: deadlines are the server's.
    var offset: TimeInterval = 0

    /// After so long without an answer the person is told.
    static let patience: TimeInterval = 15
    /// How long a tap is tried at least, and after its page's deadline.
    static let grace: TimeInterval = 600

    init(pauses: Pauses) { self.pauses = pauses }

    /// Takes a tap, or answers the one under way that it repeats.
    mutating func add(_ tap: Tap, at now: Date) -> Tap? {
        if let same = entries.first(where: { !$0.shows.isOver && $0.tap.isSame(as: tap) }) { return same.tap }
        entries.append(Entry(tap: tap, due: now))
        return nil
    }

    /// A try of a tap has ended.
    mutating func ended(_ id: String, _ result: Result, at now: Date) {
        guard let i = index(id) else { return }
        entries[i].isFlying = false
        if entries[i].shows.isOver { return }
        switch result {
        case .done: entries[i].shows = .done
        case .refused: entries[i].shows = .refused
        case .retry(let wanted): entries[i].due = now.addingTimeInterval(pauses.after(entries[i].tries, wanted: wanted))
        }
    }

    /// The network is back: nobody waits any longer.
    mutating func online(at now: Date) {
        for i in entries.indices { entries[i].due = min(entries[i].due, now) }
    }

    /// Lets time pass.
    ///
    /// - Returns: the taps whose try begins now.
    mutating func advance(to now: Date) -> [Tap] {
        var sends: [Tap] = []
        for i in entries.indices where !entries[i].shows.isOver {
            let end = end(entries[i].tap)
            if !entries[i].isFlying, entries[i].due <= now, entries[i].tries == 0 || now < end {
                entries[i].isFlying = true
                entries[i].tries += 1
                sends.append(entries[i].tap)
            }
            if now >= end, !entries[i].isFlying {
                entries[i].shows = .givenUp
            } else if now >= entries[i].tap.phoneTime.addingTimeInterval(Self.patience) {
                entries[i].shows = .unconfirmed
            }
        }
        return sends
    }

    /// When the queue wants to advance next; nil for not until something happens.
    var next: Date? {
        var times: [Date] = []
        for entry in entries where !entry.shows.isOver {
            if entry.shows == .acting { times.append(entry.tap.phoneTime.addingTimeInterval(Self.patience)) }
            if !entry.isFlying { times.append(min(entry.due, end(entry.tap))) }
        }
        return times.min()
    }

    /// Forgets what is over.
    mutating func sweep() {
        entries.removeAll { $0.shows.isOver }
    }

    private func end(_ tap: Tap) -> Date {
        max(tap.deadline.addingTimeInterval(-offset), tap.phoneTime).addingTimeInterval(Self.grace)
    }

    private func index(_ id: String) -> Int? {
        entries.firstIndex { $0.tap.id == id }
    }
}
