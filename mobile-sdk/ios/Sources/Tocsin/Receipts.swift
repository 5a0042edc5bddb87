import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// What the phone says about one push.
struct Receipt: Codable, Sendable, Equatable {
    enum State: String, Codable, Sendable {
        /// The app's code ran for it.
        case received = "STATE_RECEIVED"
        /// It is on the screen. iOS cannot prove that of a notification; an app of what it shows itself.
        case displayed = "STATE_DISPLAYED"
        /// The person opened it.
        case opened = "STATE_OPENED"
        /// It will not be shown, or is shown without a sound; ``Receipt/reason`` says why.
        case suppressed = "STATE_SUPPRESSED"
    }

    let deliveryID: String
    let state: State
    /// "" where there is nothing to say.
    var reason = ""
    /// When, by the phone's clock.
    let at: Date
    /// How far that was behind the server's, in seconds.
    var offset: TimeInterval = 0
    /// Good for this delivery alone, where the credential cannot be read.
    var key = ""

    /// Under what it is kept: one for each thing that is said.
    var record: String { ["receipt-" + deliveryID, state.rawValue, reason].joined(separator: ".") }

    func json(app: String, os: String) -> JSON {
        .fields([
            "deliveryId": JSON(deliveryID), "state": JSON(state.rawValue), "reason": JSON(reason), "deviceAt": JSON(at),
            "serverOffsetMs": JSON(Int64((max(-2_000_000, min(offset, 2_000_000)) * 1_000).rounded())),
            "appVersion": JSON(app), "os": JSON(os),
        ])
    }
}

/// The receipts that the server has not taken yet, and the calls that take them there.
///
/// Each is a record of its own, so that app and extension can add and send at
/// once; one that both send counts once. What cannot be kept, as on a full disk,
/// is sent all the same.
actor Receipts {
    private let account: Account
    private let app: String
    private let os: String
    private let clock: SteadyClock
    private var queue: ReceiptQueue
    private var unkept: Set<String> = []
    private var waiters: [String: [CheckedContinuation<Void, Never>]] = [:]
    private var wake: Task<Void, Never>?

    private static let path = "/v1/push/receipts"
    private static let timeout: TimeInterval = 5

    /// - Parameters:
    ///   - app: the app's version.
    ///   - os: the system's version.
    init(account: Account, app: String, os: String) {
        self.account = account
        self.app = app
        self.os = os
        clock = SteadyClock(account.gateway.system)
        queue = ReceiptQueue(pauses: Pauses(random: account.gateway.system.random))
    }

    /// Keeps what there is to say about a push, unless nobody wants to hear it, and begins to send it.
    func add(_ state: Receipt.State, of push: Push, reason: String = "") {
        guard let receipt = receipt(state, of: push, reason) else { return }
        add(receipt)
        go()
    }

    /// Reports a push that has just come, and answers when that has worked or
    /// failed. What has failed goes on by itself.
    func report(_ state: Receipt.State, of push: Push) async {
        guard let receipt = receipt(state, of: push, "") else { return }
        add(receipt)
        await withCheckedContinuation { waiter in
            waiters[receipt.record, default: []].append(waiter)
            online() // a push came over it
        }
    }

    /// Goes on with what a former start left, and with what waits for a network.
    func online() {
        queue.online(at: clock.now)
        go()
    }

    /// How many wait.
    var count: Int {
        synchronise()
        return queue.receipts.count
    }

    private func receipt(_ state: Receipt.State, of push: Push, _ reason: String) -> Receipt? {
        guard push.wantsReceipt else { return nil }
        return Receipt(
            deliveryID: push.deliveryID, state: state, reason: reason, at: account.gateway.system.now(),
            offset: account.gateway.clock.offset, key: push.receiptKey)
    }

    private func add(_ receipt: Receipt) {
        queue.add(receipt)
        do {
            try account.storage.write(try JSONEncoder().encode(receipt), to: receipt.record)
        } catch {
            unkept.insert(receipt.record)
        }
    }

    /// Begins the call that is due, and waits for the next.
    private func go() {
        wake?.cancel()
        synchronise()
        var locked = false
        do throws(PhoneError) {
            _ = try account.credential()
        } catch {
            locked = error.remedy == .unlock
            if !locked { return release() } // nobody is signed in: there is nobody to tell
        }
        let system = account.gateway.system
        if let batch = queue.advance(to: clock.now, locked: locked) {
            Task { await send(batch) }
        } else if !queue.isFlying {
            release()
            guard let next = queue.next, next > clock.now else { return }
            wake = Task { // holds the queue for as long as something waits in it
                guard (try? await system.sleep(next.timeIntervalSince(clock.now))) != nil else { return }
                go()
            }
        }
    }

    /// What waits, as a call that anybody can make; none where there is nothing, or no credential to make it with.
    func leftovers() -> [URLRequest] {
        synchronise()
        let waiting = Array(queue.receipts.prefix(ReceiptQueue.most))
        guard !waiting.isEmpty, let session = account.session, let credential = try? account.credential() else { return [] }
        var call = call(ReceiptQueue.Batch(receipts: waiting, key: ""))
        call.bearer = credential
        return [account.gateway.request(call, at: session.server)]
    }

    private func call(_ batch: ReceiptQueue.Batch) -> Call {
        let receipts = JSON(.array(batch.receipts.map { $0.json(app: app, os: os) }))
        return Call(path: Self.path, body: .fields(["receipts": receipts, "receiptKey": JSON(batch.key)]), timeout: Self.timeout)
    }

    private func send(_ batch: ReceiptQueue.Batch) async {
        let call = call(batch)
        do throws(PhoneError) {
            if batch.key.isEmpty {
                _ = try await account.call(call)
            } else if let server = account.session?.server {
                _ = try await account.gateway.answer(call, at: server)
            }
        } catch where error.isTemporary {
            queue.failed(wanted: error.pause, at: clock.now)
            release()
            return go()
        } catch {} // refused for good: nothing that is repeated changes that
        queue.taken(at: clock.now)
        for receipt in batch.receipts { forget(receipt) }
        go()
    }

    private func forget(_ receipt: Receipt) {
        unkept.remove(receipt.record)
        try? account.storage.remove(receipt.record)
        for waiter in waiters.removeValue(forKey: receipt.record) ?? [] { waiter.resume() }
    }

    /// Lets everybody go who waits for a report.
    private func release() {
        let all = waiters.values.flatMap { $0 }
        waiters = [:]
        for waiter in all { waiter.resume() }
    }

    /// Brings the queue up to what is kept: another process adds and sends as well.
    private func synchronise() {
        guard let kept = try? account.storage.names(beginning: "receipt-") else { return }
        var found: [Receipt] = []
        for name in kept.keys where !queue.receipts.contains(where: { $0.record == name }) {
            guard let record = try? account.storage.read(name) else { continue }
            guard let receipt = try? JSONDecoder().decode(Receipt.self, from: record) else {
                try? account.storage.remove(name) // of another version, or torn
                continue
            }
            found.append(receipt)
        }
        for receipt in found.sorted(by: { $0.at < $1.at }) { queue.add(receipt) }
        let now = account.gateway.system.now()
        let gone = queue.drop { receipt in
            now.timeIntervalSince(receipt.at) >= ReceiptQueue.memory || (kept[receipt.record] == nil && !unkept.contains(receipt.record))
        }
        for receipt in gone { forget(receipt) }
    }
}
