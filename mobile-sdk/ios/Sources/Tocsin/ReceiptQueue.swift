import Foundation

/// What becomes of receipts that do not get through at once: pure, in the phone's
/// time. `mobile-sdk/vectors/batches.json` has it step by step.
struct ReceiptQueue: Sendable {
    /// What goes in one call.
    struct Batch: Sendable, Equatable {
        let receipts: [Receipt]
        /// Authorizes them; "" for the credential.
        let key: String
    }

    private(set) var receipts: [Receipt] = []
    private var flying: Batch?
    private var tries = 0
    private var due = Date.distantPast
    let pauses: Pauses

    static let most = 100
    static let memory: TimeInterval = 7 * 86_400

    init(pauses: Pauses) { self.pauses = pauses }

    /// Adds a receipt, unless the same waits already.
    mutating func add(_ receipt: Receipt) {
        if !receipts.contains(where: { $0.record == receipt.record }) { receipts.append(receipt) }
    }

    /// Forgets receipts that somebody else has sent, or that are too old.
    ///
    /// - Returns: those that are forgotten.
    mutating func drop(where isGone: (Receipt) -> Bool) -> [Receipt] {
        let gone = receipts.filter { isGone($0) && flying?.receipts.contains($0) != true }
        receipts.removeAll { gone.contains($0) }
        return gone
    }

    /// The call that was under way has ended, for good.
    mutating func taken(at now: Date) {
        if let flying { receipts.removeAll { flying.receipts.contains($0) } }
        (flying, tries, due) = (nil, 0, now)
    }

    /// The call that was under way has failed and is to be made again, in so many seconds at least.
    mutating func failed(wanted: TimeInterval, at now: Date) {
        flying = nil
        due = now.addingTimeInterval(pauses.after(tries, wanted: wanted))
    }

    /// The network is back, or a page has come over it: nobody waits any longer.
    mutating func online(at now: Date) {
        due = min(due, now)
    }

    /// Lets time pass.
    ///
    /// - Parameter locked: whether the credential cannot be read: each page's key reports that page.
    /// - Returns: the call that begins now.
    mutating func advance(to now: Date, locked: Bool) -> Batch? {
        guard flying == nil, due <= now else { return nil }
        let batch: Batch
        if locked {
            guard let first = receipts.first(where: { !$0.key.isEmpty }) else { return nil }
            let same = receipts.filter { $0.deliveryID == first.deliveryID && $0.key == first.key }
            batch = Batch(receipts: Array(same.prefix(Self.most)), key: first.key)
        } else {
            batch = Batch(receipts: Array(receipts.prefix(Self.most)), key: "")
        }
        guard !batch.receipts.isEmpty else { return nil }
        flying = batch
        tries += 1
        return batch
    }

    /// Whether a call is under way.
    var isFlying: Bool { flying != nil }

    /// When the queue wants to advance next; nil for not until something happens.
    var next: Date? {
        receipts.isEmpty || flying != nil ? nil : due
    }
}
