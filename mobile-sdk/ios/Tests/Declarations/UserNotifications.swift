import Foundation

// The classes are not Sendable, which is the strictest that a version of the framework is.

public enum UNAuthorizationStatus: Int, Sendable { case notDetermined, denied, authorized, provisional, ephemeral }
public enum UNNotificationSetting: Int, Sendable { case notSupported, disabled, enabled }
public enum UNNotificationInterruptionLevel: UInt, Sendable { case passive, active, timeSensitive, critical }

public struct UNAuthorizationOptions: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
    public static let badge = UNAuthorizationOptions(rawValue: 1), sound = UNAuthorizationOptions(rawValue: 2)
    public static let alert = UNAuthorizationOptions(rawValue: 4), criticalAlert = UNAuthorizationOptions(rawValue: 16)
}

open class UNNotificationSettings: NSObject {
    public var authorizationStatus: UNAuthorizationStatus { .denied }
    public var soundSetting: UNNotificationSetting { .disabled }
    public var alertSetting: UNNotificationSetting { .disabled }
    public var lockScreenSetting: UNNotificationSetting { .disabled }
    public var criticalAlertSetting: UNNotificationSetting { .disabled }
    public var timeSensitiveSetting: UNNotificationSetting { .disabled }
    public var scheduledDeliverySetting: UNNotificationSetting { .disabled }
}

public struct UNNotificationActionOptions: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
    public static let authenticationRequired = UNNotificationActionOptions(rawValue: 1)
}

public struct UNNotificationCategoryOptions: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
}

open class UNNotificationAction: NSObject {
    public init(identifier: String, title: String, options: UNNotificationActionOptions = []) {}
}

open class UNNotificationCategory: NSObject {
    public init(
        identifier: String, actions: [UNNotificationAction], intentIdentifiers: [String], hiddenPreviewsBodyPlaceholder: String,
        options: UNNotificationCategoryOptions = []
    ) {}
}

open class UNNotificationSound: NSObject {
    public class var `default`: UNNotificationSound { UNNotificationSound() }
}

open class UNNotificationContent: NSObject {
    open var title: String { get { "" } set {} }
    open var subtitle: String { get { "" } set {} }
    open var body: String { get { "" } set {} }
    open var threadIdentifier: String { get { "" } set {} }
    open var categoryIdentifier: String { get { "" } set {} }
    open var userInfo: [AnyHashable: Any] { get { [:] } set {} }
    open override func mutableCopy() -> Any { self }
}

open class UNMutableNotificationContent: UNNotificationContent {
    open var sound: UNNotificationSound?
    open var interruptionLevel = UNNotificationInterruptionLevel.active
}

open class UNNotificationTrigger: NSObject {}

open class UNTimeIntervalNotificationTrigger: UNNotificationTrigger {
    public init(timeInterval: TimeInterval, repeats: Bool) {}
}

open class UNNotificationRequest: NSObject {
    public init(identifier: String, content: UNNotificationContent, trigger: UNNotificationTrigger?) {}
    public var identifier: String { "" }
    public var content: UNNotificationContent { UNNotificationContent() }
}

open class UNNotification: NSObject {
    public var request: UNNotificationRequest { UNNotificationRequest(identifier: "", content: UNNotificationContent(), trigger: nil) }
}

open class UNNotificationResponse: NSObject {
    public var notification: UNNotification { UNNotification() }
    public var actionIdentifier: String { "" }
}

public let UNNotificationDefaultActionIdentifier = ""

open class UNUserNotificationCenter: NSObject {
    public class func current() -> UNUserNotificationCenter { UNUserNotificationCenter() }
    public func getNotificationSettings(completionHandler: @escaping @Sendable (UNNotificationSettings) -> Void) {}
    public func requestAuthorization(options: UNAuthorizationOptions, completionHandler: @escaping @Sendable (Bool, (any Error)?) -> Void) {}
    public func setNotificationCategories(_ categories: Set<UNNotificationCategory>) {}
    public func removePendingNotificationRequests(withIdentifiers identifiers: [String]) {}
    public func removeAllDeliveredNotifications() {}
    public func getDeliveredNotifications(completionHandler: @escaping @Sendable ([UNNotification]) -> Void) {}
    public func add(_ request: UNNotificationRequest) async throws {}
}

open class UNNotificationServiceExtension: NSObject {
    open func didReceive(_ request: UNNotificationRequest, withContentHandler contentHandler: @escaping (UNNotificationContent) -> Void) {}
    open func serviceExtensionTimeWillExpire() {}
}
