#if canImport(UserNotifications) && canImport(CryptoKit) && canImport(Security)
    import Foundation
    import UserNotifications

    /// The notification extension: a subclass names the app group, and that is all.
    ///
    ///     final class NotificationService: PagingExtension {
    ///         override var appGroup: String { "group.com.example.oncall" }
    ///     }
    ///
    /// What it does is in ``Phone/present(_:)``.
    open class PagingExtension: UNNotificationServiceExtension {
        /// The app group of app and extension.
        open var appGroup: String { "" }

        private var delivery: Delivery?

        open override func didReceive(_ request: UNNotificationRequest, withContentHandler handler: @escaping (UNNotificationContent) -> Void) {
            guard let push = Push(request.content.userInfo), let content = request.content.mutableCopy() as? UNMutableNotificationContent,
                let phone = try? Phone(appGroup: appGroup)
            else { return handler(request.content) }
            let delivery = Delivery(content, handler)
            self.delivery = delivery
            let group = appGroup
            Task {
                delivery.end(await phone.present(push))
                await phone.handOver(from: group)
            }
        }

        open override func serviceExtensionTimeWillExpire() {
            delivery?.end(nil) // the text in the clear is good enough to wake somebody
        }
    }

    /// A content on its way to the screen, which it reaches once.
    private final class Delivery: @unchecked Sendable {
        private let lock = NSLock()
        private let content: UNMutableNotificationContent
        private var handler: ((UNNotificationContent) -> Void)?

        init(_ content: UNMutableNotificationContent, _ handler: @escaping (UNNotificationContent) -> Void) {
            self.content = content
            self.handler = handler
        }

        func end(_ shown: Presentation?) {
            lock.lock()
            defer { lock.unlock() }
            guard let handler else { return }
            self.handler = nil
            if let shown {
                content.title = shown.title
                content.subtitle = shown.subtitle
                content.body = shown.body
                if !shown.sounds {
                    content.sound = nil
                    content.interruptionLevel = .passive
                }
            }
            handler(content)
        }
    }
#endif
