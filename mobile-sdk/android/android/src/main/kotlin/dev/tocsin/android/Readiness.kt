// Copyright the tocsin authors. Licensed under the Apache License, Version 2.0.

package dev.tocsin.android

import android.app.NotificationChannel
import android.app.NotificationManager
import android.content.Context
import android.media.AudioManager
import android.os.Build
import android.os.PowerManager
import dev.tocsin.v1.Device

/**
 * What the phone lets a page do, as it is read back from the system: what a person set is never assumed.
 * Each that is false has a screen of the system's settings on which it is mended.
 */
public class Readiness internal constructor(
    /** Notifications are allowed at all. */
    public val notifications: Boolean,
    /** The channel of pages is on, and makes a sound. */
    public val channel: Boolean,
    /** A critical page goes through do not disturb. */
    public val throughDoNotDisturb: Boolean,
    /** A page may take the whole screen of a locked phone. */
    public val fullScreen: Boolean,
    /** The battery manager leaves the app alone. */
    public val battery: Boolean,
    /** The lock screen shows that there is a page. */
    public val lockScreen: Boolean,
) {
    /** Whether a page would be shown, and heard. */
    public val ready: Boolean get() = notifications && channel

    internal fun capabilities(): Device.Capabilities = Device.Capabilities.newBuilder()
        .setChannelOk(channel)
        .setDndBypass(throughDoNotDisturb)
        .setCritical(throughDoNotDisturb)
        .setFullScreen(fullScreen)
        .setBatteryUnrestricted(battery)
        .setLockScreen(lockScreen)
        .setActions(true)
        .setAlert(notifications)
        .setSound(channel)
        .build()

    internal fun permission(): Device.Permission =
        if (notifications) Device.Permission.PERMISSION_GRANTED else Device.Permission.PERMISSION_DENIED

    override fun equals(other: Any?): Boolean = other is Readiness && other.capabilities() == capabilities()

    override fun hashCode(): Int = capabilities().hashCode()
}

/** Reads the system's settings. */
internal class Settings(private val context: Context, private val channels: Channels) {
    private val notifications = context.service<NotificationManager>()

    fun read(): Readiness {
        val normal = channels.normal()
        return Readiness(
            notifications = notifications.areNotificationsEnabled(),
            channel = normal != null && normal.importance >= NotificationManager.IMPORTANCE_DEFAULT && makesNoise(normal),
            throughDoNotDisturb = channels.critical()?.let { it.canBypassDnd() && it.importance >= NotificationManager.IMPORTANCE_DEFAULT } == true,
            fullScreen = mayTakeTheScreen(),
            battery = context.service<PowerManager>().isIgnoringBatteryOptimizations(context.packageName),
            lockScreen = normal != null && normal.lockscreenVisibility != android.app.Notification.VISIBILITY_SECRET,
        )
    }

    fun mayTakeTheScreen(): Boolean = Build.VERSION.SDK_INT < Build.VERSION_CODES.UPSIDE_DOWN_CAKE || notifications.canUseFullScreenIntent()

    /** Why a card on [channel] would not be shown, as a receipt says it; empty when it would be. */
    fun hides(channel: String): String = when {
        !notifications.areNotificationsEnabled() -> "permission"
        notifications.getNotificationChannel(channel)?.let { it.importance == NotificationManager.IMPORTANCE_NONE } != false -> "channel"
        else -> ""
    }

    /** Why a card on [channel] would not be heard, as a receipt says it; empty when it would be. */
    fun quiets(channel: String): String {
        val on = notifications.getNotificationChannel(channel) ?: return "channel"
        return when {
            on.importance < NotificationManager.IMPORTANCE_DEFAULT || !makesNoise(on) -> "channel"
            !passes(on) -> "dnd"
            context.service<AudioManager>().getStreamVolume(AudioManager.STREAM_ALARM) == 0 && !on.shouldVibrate() -> "silent"
            else -> ""
        }
    }

    // Of a page's channel, which is an alarm.
    private fun passes(channel: NotificationChannel): Boolean = when (notifications.currentInterruptionFilter) {
        NotificationManager.INTERRUPTION_FILTER_NONE -> false
        NotificationManager.INTERRUPTION_FILTER_PRIORITY ->
            channel.canBypassDnd() || !notifications.isNotificationPolicyAccessGranted || letsAlarmsThrough()
        else -> true
    }

    // Readable with access to do not disturb only; alarms are let through unless somebody says otherwise.
    private fun letsAlarmsThrough() = Build.VERSION.SDK_INT < Build.VERSION_CODES.P ||
        notifications.notificationPolicy.priorityCategories and NotificationManager.Policy.PRIORITY_CATEGORY_ALARMS != 0

    private fun makesNoise(channel: NotificationChannel) = channel.sound != null || channel.shouldVibrate()
}
