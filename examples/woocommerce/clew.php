<?php
/**
 * Plugin Name: clew
 * Description: Keeps clew's token with the order, so that WooCommerce's own webhooks bring it back.
 *
 * Copy this file to wp-content/mu-plugins/. It needs `header = true` in [sites.carry]. The webhooks are WooCommerce's
 * own: `clew connect woocommerce` says how to create them.
 */
add_action('woocommerce_checkout_create_order', 'clew_keep');
add_action('woocommerce_store_api_checkout_update_order_meta', 'clew_keep');
function clew_keep(WC_Order $order) {
	$token = $_SERVER['HTTP_X_CLEW_REFERRAL'] ?? '';
	if (preg_match('/^[A-Za-z0-9_-]{1,200}$/', $token)) {
		$order->update_meta_data('_clew', $token);
	}
}
