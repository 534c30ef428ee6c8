<?php
namespace Opencart\Catalog\Controller\Extension\Clew;
/**
 * Reports each change of an order to clew. OpenCart 4.0.2 and newer.
 */
class Clew extends \Opencart\System\Engine\Controller {
	// Order statuses as OpenCart installs them; those of the settings "Processing" and "Complete" count as paid.
	private const STATES = [1 => 'placed', 7 => 'cancelled', 8 => 'cancelled', 10 => 'held', 11 => 'refunded',
		12 => 'cancelled', 13 => 'charged_back', 14 => 'cancelled', 16 => 'cancelled'];

	/** After addOrder: keep the visitor's token, which the browser's request brings. */
	public function keep(string &$route, array &$args, mixed &$output): void {
		$token = (string)($this->request->server['HTTP_X_CLEW_REFERRAL'] ?? '');
		// In 4.0 the administration makes orders by the browser too: its token is the shop's own visit.
		$own = str_starts_with((string)($this->request->get['route'] ?? ''), 'api/');
		if ($output && !$own && preg_match('/^[A-Za-z0-9_-]{1,200}$/', $token)) {
			$this->db->query("REPLACE INTO `" . DB_PREFIX . "clew_order` SET `order_id` = '" . (int)$output . "', `token` = '" . $this->db->escape($token) . "'");
		}
	}

	/** After addHistory: the order has a new state. A payment's callback comes without the browser. */
	public function report(string &$route, array &$args, mixed &$output): void {
		$order = $this->model_checkout_order->getOrder((int)$args[0]);
		// Without a status it is a checkout that was not confirmed.
		if ($order && (int)$args[1] && $this->config->get('module_clew_status')) {
			$this->send($this->body($order, (int)$args[1]));
		}
	}

	private function body(array $order, int $status): array {
		$totals = $this->model_checkout_order->getTotals($order['order_id']);
		$sum = fn (string ...$codes) => array_sum(array_column(array_filter($totals, fn ($t) => in_array($t['code'], $codes)), 'value'));
		$coupons = array_column(array_filter($totals, fn ($t) => $t['code'] == 'coupon'), 'title');
		$paid = array_merge((array)$this->config->get('config_processing_status'), (array)$this->config->get('config_complete_status'));
		$token = $this->db->query("SELECT `token` FROM `" . DB_PREFIX . "clew_order` WHERE `order_id` = '" . (int)$order['order_id'] . "'")->row['token'] ?? null;
		$items = array_map(fn ($p) => array_filter(['id' => $this->text($p['model']), 'name' => $this->text($p['name']),
			'category' => $this->category((int)$p['product_id']), 'quantity' => (int)$p['quantity'],
			'price' => $this->money($p['price']), 'tax' => $this->money($p['tax'] * $p['quantity'])], fn ($value) => $value !== ''), $this->model_checkout_order->getProducts($order['order_id']));
		// OpenCart counts "Pending" and "Reversed" as processing too.
		$state = self::STATES[$status] ?? (in_array($status, $paid) ? 'paid' : null);
		return array_filter([
			'id' => (string)$order['order_id'],
			// Amounts are in the shop's own currency, whatever the customer chose to see.
			'total' => $this->money($order['total']), 'currency' => $this->config->get('config_currency'),
			// An order has a line for each tax. They have the tax of shipping, and are after the coupon, unlike the products' own.
			'shipping' => $this->money($sum('shipping')), 'tax' => $this->money($sum('tax')),
			'discount' => $this->money(abs($sum('coupon', 'voucher', 'reward'))),
			// The title is "Coupon (CODE)", from which OpenCart itself takes the code.
			'coupon' => $coupons && preg_match('/\((.+)\)/', $this->text($coupons[0]), $found) ? $found[1] : null,
			'state' => $state, 'visitor' => $token,
			// clew takes 200 items; a part of them would make wrong sums.
			'items' => count($items) <= 200 ? $items : null,
			'placed_at' => strtotime($order['date_added']), 'updated_at' => time(),
			// Without an address, its hash would be that of all orders without one.
			'email_hash' => trim($order['email']) ? hash('sha256', strtolower(trim($order['email']))) : null,
		], fn ($value) => $value !== null);
	}

	/** The product's category, of several the one that is deepest in the tree: its name in the shop's first language. */
	private function category(int $product): string {
		$name = $this->db->query("SELECT d.`name` FROM `" . DB_PREFIX . "product_to_category` c
			INNER JOIN `" . DB_PREFIX . "category_path` p ON p.`category_id` = c.`category_id` AND p.`path_id` = c.`category_id`
			INNER JOIN `" . DB_PREFIX . "category_description` d ON d.`category_id` = c.`category_id`
			WHERE c.`product_id` = '" . $product . "' ORDER BY p.`level` DESC, c.`category_id`, d.`language_id` LIMIT 1")->row['name'] ?? '';
		return $this->text($name);
	}

	private function money(mixed $value): string {
		return number_format((float)$value, 4, '.', '');
	}

	/** A text as clew takes it: without control characters, at most 200 characters. */
	private function text(string $value): string {
		return mb_substr(trim((string)preg_replace('/[\p{Cc}\p{Zl}\p{Zp}]+/u', ' ', html_entity_decode($value))), 0, 200);
	}

	/** https://github.com/standard-webhooks/standard-webhooks */
	private function send(array $body): void {
		[$id, $at, $text] = [bin2hex(random_bytes(16)), time(), json_encode($body)];
		$mac = base64_encode(hash_hmac('sha256', "$id.$at.$text", $this->config->get('module_clew_secret'), true));
		$call = curl_init($this->config->get('module_clew_url'));
		curl_setopt_array($call, [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $text, CURLOPT_RETURNTRANSFER => true, CURLOPT_TIMEOUT => 5,
			CURLOPT_HTTPHEADER => ['Content-Type: application/json', "webhook-id: $id", "webhook-timestamp: $at", "webhook-signature: v1,$mac"]]);
		$answer = curl_exec($call);
		if (curl_getinfo($call, CURLINFO_RESPONSE_CODE) != 200) {
			$this->log->write('clew did not take order ' . $body['id'] . ': ' . ($answer ?: curl_error($call)));
		}
		curl_close($call);
	}
}
